"""The doors for a foreign network: look inside one, and make it a network of faceflow.

The file is opened here and read in a child process under limits; what comes back is a value, or
the graph that was made of it and tried. See :mod:`faceflow.networks.foreign.refusals` for what is
refused there, so that a network which was imported can be trusted to run in this process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from faceflow import networks
from faceflow.errors import WeightsError
from faceflow.networks import NetworkSpec, described
from faceflow.networks.description import Description
from faceflow.networks.foreign.findings import Inspection, from_values
from faceflow.networks.foreign.spec_file import OnnxDescription
from faceflow.system import child
from faceflow.system.child import Limits
from faceflow.system.files import open_regular
from faceflow.weights import OnnxFile

Progress = Callable[[str], None]
LARGEST_FILE = 2**30
"""Bytes of an ONNX file at most; the largest face networks known have a quarter of that."""
_MB = 2**20


def inspect(file: str | Path, *, embedding: str | None = None) -> Inspection:
    """Look at a network; it is run on noise, in a child process under limits.

    Args:
        file: an ``.onnx`` file.
        embedding: the output to take for the embedding; None takes the likeliest.

    Raises:
        InputError: it takes pictures of a size or a number that no face network has.
        WeightsError: the file is no ONNX network, takes anything but one picture, runs in no
            ONNX Runtime, needs too much time or memory, or has no output that may be an
            embedding.
    """
    from faceflow.networks.foreign.apart import look  # loads onnx and ONNX Runtime

    path = Path(file)
    with _opened(path) as data:
        arguments = {"name": path.name, "embedding": embedding}
        answer = child.run(
            look, data, arguments, what=str(path), limits=_limits(data), error=WeightsError
        )
    return from_values(answer.value)


def import_network(
    name: str,
    file: str | Path,
    description: OnnxDescription,
    *,
    progress: Progress | None = None,
) -> NetworkSpec:
    """Check a network, expose its patches as an output, and put it into the cache.

    It is run on noise first, in a child process: its outputs must have the described shapes, be
    finite, and not depend on the other faces of a batch.

    Args:
        name: what it will be called: lower-case letters, digits, ``.``, ``_`` and ``-``. A
            network imported under this name before is replaced.
        file: the ``.onnx`` file.
        description: from :func:`faceflow.networks.foreign.read_file`.
        progress: told what happens.

    Returns:
        Its specification; ``load_network(name)`` loads it from now on. The digest covers the
        file, the values that were chosen, and the preprocessing.

    Raises:
        InputError: the name is taken or not possible, or the description does not fit.
        WeightsError: the file is no network that can be used, or the cache cannot be written.
    """
    from faceflow.networks.foreign.apart import make

    networks.require_new_name(name)
    path = Path(file)
    if progress:
        progress(f"reading {path} and trying {name} on noise")
    with _opened(path) as data:
        arguments = {
            "name": path.name,
            "embedding": description.embedding,
            "patches": description.patches,
            "input_size": description.input_size,
            "colour": description.colour,
        }
        answer = child.run(
            make, data, arguments, what=str(path), limits=_limits(data), error=WeightsError
        )
        size = os.fstat(data.fileno()).st_size
    height, width = answer.value["grid"]
    spec = NetworkSpec(
        **{field: getattr(description, field) for field in Description.__slots__},
        name=name,
        source=OnnxFile(
            file_name=path.name,
            sha256=answer.value["sha256"],
            size=size,
            upstream=description.upstream,
        ),
        embedding_size=answer.value["embedding_size"],
        grid=(height, width),
        channels=answer.value["channels"],
    )
    described.save(spec, answer.arrays["graph"].tobytes())
    return spec


def _opened(path: Path) -> BinaryIO:
    return open_regular(path, limit=LARGEST_FILE, kind="ONNX file", error=WeightsError)


def _limits(data: BinaryIO) -> Limits:
    """Well above what an IResNet-100 of 250 MB takes: 12 s of one core and 1.8 GB.

    The clock is for a machine that is busy with something else.
    """
    size = os.fstat(data.fileno()).st_size
    return Limits(seconds=400, cpu_seconds=120, memory=1536 * _MB + 10 * size, answer=2**31)
