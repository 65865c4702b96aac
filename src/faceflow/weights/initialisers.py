"""Some of a graph's constants, read without the package ``onnx``.

Loading ``onnx`` and letting it parse 40 MB takes 50 to 80 ms of CPU time, which a command that
identifies one photo would spend on two arrays. An ONNX file is a protobuf message: fields, each a
number with its kind, then a value; values with a length can be stepped over. So reading a few
constants takes the few fields below and touches nothing else. Field numbers: onnx.proto; encoding:
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from faceflow.arrays import Float32
from faceflow.errors import WeightsError

_MODEL_GRAPH = 7
_GRAPH_INITIALISER = 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _DATA_LOCATION = 1, 2, 8, 9, 14
_FLOAT = 1  # TensorProto.DataType
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

_Field = tuple[int, int | memoryview]
"""A field's number and its value: a whole number, or the bytes of anything else."""


def read_initialisers(graph: bytes, names: Collection[str]) -> dict[str, Float32]:
    """The named constants of a graph, as far as it has them.

    Args:
        graph: ONNX bytes.
        names: of float32 constants whose numbers lie in the graph as raw bytes, as
            :func:`faceflow.weights.graphs.serialise` and ``onnx.numpy_helper`` write them;
            others count as absent.

    Returns:
        Read-only arrays by name. They are views of ``graph``: copy what is to outlive it.

    Raises:
        WeightsError: the bytes are cut off or no protobuf message.
    """
    found = {}
    for part in _all(memoryview(graph), _MODEL_GRAPH):
        for tensor in _all(part, _GRAPH_INITIALISER):
            name, values = _read(tensor, names)
            if values is not None:
                found[name] = values
    return found


def _read(tensor: memoryview, names: Collection[str]) -> tuple[str, Float32 | None]:
    name, kind, shape, raw, elsewhere = "", 0, [], None, 0
    for number, value in _fields(tensor):
        if isinstance(value, int):
            if number == _DIMS:
                shape.append(value)
            elif number == _DATA_TYPE:
                kind = value
            elif number == _DATA_LOCATION:
                elsewhere = value
        elif number == _DIMS:  # many numbers in one field
            shape += _varints(value)
        elif number == _NAME:
            name = str(value, "utf-8", "replace")
        elif number == _RAW_DATA:
            raw = value
    if name not in names or kind != _FLOAT or elsewhere or raw is None:
        return name, None
    if len(raw) != 4 * math.prod(shape):
        raise WeightsError(
            f"the constant {name} of the graph is damaged",
            why=f"it has {len(raw)} bytes and the shape {tuple(shape)} of float32",
        )
    return name, np.frombuffer(raw, "<f4").reshape(shape).astype(np.float32, copy=False)


def _all(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The values of the fields of that number that are messages themselves."""
    for number, value in _fields(message):
        if number == wanted and not isinstance(value, int):
            yield value


def _fields(message: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            whole, at = _varint(message, at)
            yield number, whole
            continue
        if kind == _LENGTH:
            size, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise _no_message(f"there is no kind {kind} of fields")
        if size > len(message) - at:
            raise _no_message("it ends within a field")
        yield number, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A whole number, seven bits a byte, the lowest first; and where the next thing begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _no_message("it ends within a number")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _no_message("a number has more than 64 bits")


def _no_message(why: str) -> WeightsError:
    return WeightsError("the graph is no ONNX file", why=why)
