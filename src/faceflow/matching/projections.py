"""What each patch of a network adds to its embedding, read from its graph once and then kept.

For one photo, reading and checking 41 MB of graph for the 8 MB of its last layer, and turning those
to the order in which they are used, would cost more CPU time than everything that is done with
them. So they are kept beside the graph, under a key of the graph's sum and the code that reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from functools import partial
from typing import BinaryIO

import numpy as np

from faceflow import networks
from faceflow.arrays import Float32
from faceflow.networks import NetworkSpec, runtime
from faceflow.system.caches import KeyedFolder, cache_dir, new_key
from faceflow.weights import initialisers

_SUM_BYTES = 32
_SUFFIX = ".projection"


def projection_of(spec: NetworkSpec) -> Float32:
    """(R, C, D) what each patch adds to the embedding; D is 0 where that is not linear.

    Raises:
        WeightsError: the network's graph is not in the cache.
    """
    key = _key(spec)
    kept = KeyedFolder(
        cache_dir() / "models" / spec.model_name / f"projection-{spec.digest[:16]}",
        _SUFFIX,
        partial(_read, spec, key),
        partial(_write, key),
        shared=True,
    )
    found = kept.load(key)
    if found is None:
        found = _from_graph(spec)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
            kept.save(key, found)
            for old in kept.folder.glob(f"*{_SUFFIX}"):  # of other code, or another graph
                if old.stem != key:
                    old.unlink(missing_ok=True)
    return found


def _from_graph(spec: NetworkSpec) -> Float32:
    try:
        weight, _ = networks.last_layer(spec.name)
    except runtime.NoLastLayerError:
        return np.zeros((int(np.prod(spec.grid)), spec.channels, 0), np.float32)
    return np.ascontiguousarray(weight.transpose(1, 2, 0))


def _key(spec: NetworkSpec) -> str:
    key = new_key("projection 1", sys.modules[__name__], runtime, initialisers)
    key.update(f"{spec.digest}\0{networks.graph_sha256(spec)}".encode())
    return str(key.hexdigest())


def _read(spec: NetworkSpec, key: str, file: BinaryIO) -> Float32:
    r, c, d = int(np.prod(spec.grid)), spec.channels, spec.embedding_size
    known = file.read(_SUM_BYTES)
    content = file.read(4 * r * c * d + 1)
    if len(content) not in (0, 4 * r * c * d):
        raise ValueError("it has another size than the layer")
    if known != _sum(key, content):
        raise ValueError("the numbers are not those that were written")
    values = np.frombuffer(content, "<f4").astype(np.float32, copy=False)
    return values.reshape(r, c, d if content else 0)


def _write(key: str, file: BinaryIO, projection: Float32) -> None:
    content = projection.astype("<f4", copy=False).tobytes()
    file.write(_sum(key, content))
    file.write(content)


def _sum(key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.digest()
