"""State dicts from any file people keep them in, brought to the names a network knows."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from faceflow.errors import WeightsError
from faceflow.system import child
from faceflow.system.child import Answer, Limits
from faceflow.system.files import open_regular
from faceflow.weights.checkpoint import Tensors, read_checkpoint, require_names
from faceflow.weights.pickles import shown

Shapes = Mapping[str, tuple[int, ...]]

# Element types of safetensors -> NumPy's; BF16 is widened below, 8-bit floats are not known.
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}
_HEADER_LIMIT = 100_000_000  # safetensors' own
_MB = 2**20
MAX_BYTES = 1024 * _MB
"""Of a checkpoint; the largest face networks take 270 MB, with their optimizer three times that."""


def read_state_dict(path: Path) -> Tensors:
    """Read the tensors of a checkpoint; the content tells the format, not the file's name.

    PyTorch's zip archives and older streams (``.pth``, ``.pt``, ``.ckpt``), see
    :func:`faceflow.weights.read_checkpoint`, and safetensors. Nothing in the file is executed,
    and it is read in a child process whose memory and time are limited by the file's size.

    Returns:
        Entry name -> array, in the file's order, except for safetensors, which keeps none.

    Raises:
        UnsafeCheckpointError: it asks to run code.
        WeightsError: missing, not a regular file, too large, damaged, of another format, or
            reading it took more than any file that is in order does.
    """
    with open_regular(path, limit=MAX_BYTES, kind="checkpoint", error=WeightsError) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            answer = child.run(
                read_in_child,
                file,
                {"name": path.name},
                what=path.name,
                limits=limits_for(size),
                error=WeightsError,
            )
        except OSError as error:
            raise WeightsError(
                f"{path.name} cannot be read",
                why=f"the temporary folder {tempfile.gettempdir()}: {error.strerror or error}",
                todo="make room there, or set TMPDIR to a folder with room",
            ) from error
    return dict(answer.arrays)


def limits_for(size: int) -> Limits:
    """What reading a checkpoint of ``size`` bytes may take, with room to spare."""
    return Limits(
        seconds=60 + size / _MB,  # a slow disk reads 1 MB a second
        cpu_seconds=30 + size // (20 * _MB),
        memory=512 * _MB + 6 * size,  # the file, its arrays, their copies on the way out
        answer=16 * _MB + 2 * size,  # bfloat16 becomes float32
    )


def read_in_child(file: BinaryIO, *, name: str) -> Answer:
    """What the child process of :func:`read_state_dict` does."""
    start = file.read(9)
    file.seek(0)
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _HEADER_LIMIT:
        return Answer(arrays=_read_safetensors(file.read(), name))
    return Answer(arrays=read_checkpoint(file, name=name))


def _read_safetensors(data: bytes, name: str) -> Tensors:
    import safetensors

    try:
        entries = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise WeightsError(
            f"{name} is damaged",
            why=f"it is not a whole safetensors file ({shown(str(error), 300)})",
            todo="fetch the file again",
        ) from error
    require_names([key for key, _ in entries], name)
    tensors: Tensors = {}
    for key, entry in entries:
        kind, shape, content = entry["dtype"], tuple(entry["shape"]), entry["data"]
        if kind == "BF16":  # the upper half of a float32
            halves = np.frombuffer(content, "<u2").astype(np.uint32)
            tensors[key] = (halves << np.uint32(16)).view(np.float32).reshape(shape)
        elif kind in _SAFETENSORS:
            tensors[key] = np.frombuffer(content, _SAFETENSORS[kind]).reshape(shape)
        else:
            raise WeightsError(
                f"{name} cannot be read: its entry {shown(key)} has the element type {kind}",
                todo="save it anew in float32",
            )
    return tensors


def fit(tensors: Tensors, shapes: Shapes, *, model: str) -> Tensors:
    """The entries of a state dict that a network needs, under the names it knows.

    A prefix shared by the network's entries (``module.``, ``backbone.``) is taken off.
    ``num_batches_tracked``, which only training reads, and entries outside the network's own
    parts (a classifier's head) are left out. An entry that is too much inside one of its parts
    is an error: it belongs to a larger network of the same family.

    Args:
        tensors: the state dict as it was read.
        shapes: every entry the network needs, with its shape.
        model: what to call the network in errors.

    Returns:
        The arrays of ``shapes``, in its order.

    Raises:
        WeightsError: entries are missing, unexpected, or of another shape or kind (the first
            of each are named), or the network is there more than once.
    """
    from faceflow.weights.graphs import require_shapes  # loads onnx

    prefix = _prefix(tensors, shapes, model)
    stripped = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    parts = {name.split(".")[0] for name in shapes}
    found = {
        name: tensor
        for name, tensor in stripped.items()
        if name in shapes
        or (name.split(".")[0] in parts and not name.endswith(".num_batches_tracked"))
    }
    require_shapes(found or tensors, shapes, model=model)
    for name, tensor in found.items():
        if not np.issubdtype(tensor.dtype, np.floating):
            raise WeightsError(
                f"these tensors are not those of {model}",
                why=f"{name} holds {tensor.dtype} and not floating-point numbers",
                todo="use a checkpoint that is not quantised",
            )
    return {name: found[name] for name in shapes}


def _prefix(tensors: Tensors, shapes: Shapes, model: str) -> str:
    """What stands before most of the network's entries; nothing where none is found."""
    counts: Counter[str] = Counter()
    by_leaf: dict[
        str, list[str]
    ] = {}  # "conv1.weight" ends both itself and "layer1.0.conv1.weight"
    for name in shapes:
        by_leaf.setdefault(".".join(name.split(".")[-2:]), []).append(name)
    for key in tensors:
        for name in by_leaf.get(".".join(key.split(".")[-2:]), []):
            if key == name or key.endswith(f".{name}"):
                counts[key.removesuffix(name)] += 1
    whole = [repr(prefix) for prefix, count in counts.items() if count == len(shapes)]
    if (
        len(whole) > 1
    ):  # a model and its moving average, say; which one to take is not ours to guess
        raise WeightsError(
            f"these tensors hold {model} {len(whole)} times",
            why=f"once after each of the prefixes {', '.join(whole[:5])}",
            todo="save the state dict of one of them alone",
        )
    return max(counts, key=lambda prefix: (counts[prefix], -len(prefix)), default="")


def tensors_digest(tensors: Tensors) -> str:
    """Hex sha256 of names, shapes and float32 values, whatever file they were in.

    Entries are taken in the order of their names, so neither the file's order nor its format,
    nor a classifier that :func:`fit` left out, changes it.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = np.ascontiguousarray(tensors[name], dtype="<f4")
        digest.update(f"{name}\0{values.shape}\0".encode())
        digest.update(values.data)
    return digest.hexdigest()
