"""The oldest checkpoints: tar archives, as PyTorch wrote them before version 0.1.10 (2017).

Three files in a tar archive. ``storages``: their number, then for each a pickle (key, place, class)
with its element count and bytes behind it, then a list of views into them. ``tensors``: their
number, then for each a pickle (key, storage's key, class) with dimensions, sizes, strides and
offset behind it. ``pickle``: the object, in which a tensor is its key. Nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Callable
from typing import Any

from faceflow.errors import WeightsError
from faceflow.weights.pickles import (
    MAX_DIMENSIONS,
    MAX_SIZE,
    StorageRef,
    StorageType,
    TensorRef,
    damaged,
    read_pickle,
)

_Places = dict[str, tuple[int, int]]


def is_tar(data: bytes) -> bool:
    """Whether the bytes begin like a tar archive."""
    return data[257:262] == b"ustar"


def read_tar(
    data: bytes, name: str
) -> tuple[Any, dict[str, StorageRef], Callable[[str, int], bytes]]:
    """The object in the archive, its storages by key, and a function that gives their bytes.

    Raises:
        UnsafeCheckpointError: a pickle in it names or does anything but build tensors.
        WeightsError: damaged, or no checkpoint.
    """
    files = _files(data, name)
    storages, places = _storages(files["storages"], name)
    tensors = _tensors(files["tensors"], storages, name)

    def find(key: Any) -> TensorRef | StorageRef:
        found = tensors.get(_key(key)) or storages.get(_key(key))
        if found is None:
            raise damaged(name, f"its object uses tensor {str(key)[:80]}, which is not there")
        return found

    value, _ = read_pickle(io.BytesIO(files["pickle"]), name, persistent=find)
    content = files["storages"]
    return value, storages, lambda key, _: content[slice(*places[key])]


def _files(data: bytes, name: str) -> dict[str, bytes]:
    wanted = ("storages", "tensors", "pickle")
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                # A sparse file could claim any size from a few bytes.
                if member.name not in wanted or not member.isreg() or member.issparse():
                    continue
                stream = archive.extractfile(member)
                if stream is not None and member.size <= len(data):
                    found[member.name] = stream.read()
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise damaged(name, f"it is not a whole tar archive ({error})") from error
    for missing in (entry for entry in wanted if entry not in found):
        raise WeightsError(
            f"{name} is not a PyTorch checkpoint that can be read",
            why=f"it is a tar archive without an entry {missing!r}",
            todo="if it was packed after it was saved, unpack it and give the file inside",
        )
    return found


def _key(value: Any) -> str:
    return str(value)  # a number in the tables, its digits in the object


def _storages(content: bytes, name: str) -> tuple[dict[str, StorageRef], _Places]:
    stream = io.BytesIO(content)
    storages: dict[str, StorageRef] = {}
    places: _Places = {}
    for _ in range(_count(stream, name)):
        match read_pickle(stream, name)[0]:
            case (int(key), str(), StorageType() as kind):
                pass
            case _:
                raise damaged(name, "it describes a storage in a way that makes no sense")
        (count,) = _numbers(stream, 1, name)
        begin = stream.tell()
        end = begin + count * kind.itemsize
        if end > len(content):
            raise damaged(name, f"storage {key} is cut short")
        storages[_key(key)] = StorageRef(_key(key), kind, count)
        places[_key(key)] = (begin, end)
        stream.seek(end)
    views, _ = read_pickle(stream, name)
    for view in views if isinstance(views, list) else [None]:
        match view:
            case (int(key), int(root), int(start), int(length)) if _key(root) in storages:
                pass
            case _:
                raise damaged(name, "it describes a view of a storage in a way that makes no sense")
        of = storages[_key(root)]
        if not 0 <= start <= start + length <= of.count:
            raise damaged(name, f"a view exceeds storage {root}")
        storages[_key(key)] = StorageRef(of.key, of.type, length, of.start + start)
    return storages, places


def _tensors(content: bytes, storages: dict[str, StorageRef], name: str) -> dict[str, TensorRef]:
    stream = io.BytesIO(content)
    tensors: dict[str, TensorRef] = {}
    for _ in range(_count(stream, name)):
        match read_pickle(stream, name)[0]:
            case (int(key), int(storage), _) if _key(storage) in storages:
                pass
            case _:
                raise damaged(name, "it describes a tensor in a way that makes no sense")
        dimensions = int.from_bytes(stream.read(8)[:4], "little")  # the upper half is not set
        if dimensions > MAX_DIMENSIONS:
            raise damaged(name, f"tensor {key} has {dimensions} dimensions")
        shape = _numbers(stream, dimensions, name)
        strides = _numbers(stream, dimensions, name)
        (offset,) = _numbers(stream, 1, name)
        tensors[_key(key)] = TensorRef(storages[_key(storage)], offset, shape, strides)
    return tensors


def _count(stream: io.BytesIO, name: str) -> int:
    count, _ = read_pickle(stream, name)
    if not isinstance(count, int) or count < 0:
        raise damaged(name, "it does not say how many tensors it holds")
    return count


def _numbers(stream: io.BytesIO, count: int, name: str) -> tuple[int, ...]:
    try:
        values = struct.unpack(f"<{count}q", stream.read(8 * count))
    except struct.error as error:
        raise damaged(name, "it ends early") from error
    if not all(0 <= value < MAX_SIZE for value in values):
        raise damaged(name, "a tensor in it has a shape or strides that make no sense")
    return values
