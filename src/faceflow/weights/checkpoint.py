"""Read PyTorch checkpoints into NumPy arrays without PyTorch and without running anything.

Two formats, told apart by their first bytes: the zip archive PyTorch has written since 1.6
(``ROOT/data.pkl`` plus one stored entry per storage), and the older stream (three small
pickles, the object, the list of storage keys, then each storage as a count and its bytes).
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from faceflow.errors import WeightsError
from faceflow.weights.pickles import StorageRef, TensorRef, damaged, read_pickle, shown

Tensors = dict[str, NDArray[Any]]
_Refs = dict[str, StorageRef]
_Load = Callable[[str, int], bytes]  # storage key, expected bytes -> the bytes

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001
_NESTED_IN = ("state_dict", "model_state_dict", "model", "net", "network", "weights")
_PREFIX = "module."  # added by data-parallel training

MAX_ENTRIES = 100_000  # the largest known networks have some 10,000 tensors
MAX_NAME = 500  # characters


def read_checkpoint(data: bytes | BinaryIO, *, name: str = "the checkpoint") -> Tensors:
    """Read the state dict of a PyTorch checkpoint, in this process.

    Of a file whose content is not known, :func:`faceflow.weights.read_state_dict` is the way: it
    calls this function in a child process with limits.

    Args:
        data: the checkpoint's bytes, or an open file that can be sought.
        name: what to call it in errors.

    Returns:
        Entry name -> read-only array, in the file's order. A state dict nested one level
        deep (``{"epoch": 3, "state_dict": ...}``) is found, and a ``module.`` prefix shared
        by all entries is taken off. Element types are kept, except that bfloat16, which
        NumPy lacks, becomes float32 without loss. Entries that shared memory still do.

    Raises:
        UnsafeCheckpointError: the pickle inside names or does anything but build tensors
            and dictionaries; the error says what, and nothing was executed.
        WeightsError: damaged, of another format or byte order, or without a state dict.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    first = file.read(4)
    file.seek(0)
    if first == b"PK\x03\x04":
        value, refs, load = _read_zip(file, name)
    elif first[:1] == b"\x80":
        value, refs, load = _read_legacy(file, name)
    else:
        raise WeightsError(
            f"{name} is not a PyTorch checkpoint that can be read",
            why="its first bytes are those of neither a zip archive nor a pickle",
            todo="fetch it again, or save it anew with a recent PyTorch",
        )
    storages: dict[str, NDArray[Any]] = {}
    tensors: Tensors = {}
    for key, ref in _state_dict(value, name).items():
        if ref.storage.key not in storages:
            storages[ref.storage.key] = _storage(refs[ref.storage.key], load)
        tensors[key] = _tensor(key, ref, storages[ref.storage.key], name)
    return tensors


def _require_little_endian(name: str, little: bool, found: str) -> None:
    if not little:
        raise WeightsError(
            f"{name} cannot be read: its byte order is {found}",
            why="only little-endian checkpoints are supported",
            todo="save it anew on a little-endian machine",
        )


def _size(file: BinaryIO) -> int:
    """Bytes in the file; the position stays."""
    here = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(here)
    return size


def _read_zip(file: BinaryIO, name: str) -> tuple[Any, _Refs, _Load]:
    """Open the archive; nothing is ever unpacked to disk, entries are looked up by name."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise damaged(name, f"it is not a whole zip archive ({error})") from error
    entries = {info.filename: info for info in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise damaged(name, "its zip archive holds two entries of one name")
    root = next(iter(entries), "").split("/", 1)[0]
    for entry in entries:
        if (
            not root
            or not entry.startswith(f"{root}/")
            or "\\" in entry
            or ".." in entry.split("/")
        ):
            raise damaged(name, f"its zip archive holds the path {shown(entry)!r}")
    budget = _size(file)  # entries are stored as they are, so together they fit in the file

    def read(entry: str) -> bytes:
        nonlocal budget
        info = entries.get(f"{root}/{entry}")
        if info is None:
            raise damaged(name, f"its zip archive lacks {shown(entry)!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise WeightsError(
                f"{name} is not a PyTorch checkpoint that can be read",
                why=f"the entry {shown(entry)!r} of its zip archive is compressed or encrypted",
                todo="save it anew with PyTorch, which does neither",
            )
        budget -= info.file_size
        if budget < 0:
            raise damaged(name, "the entries of its zip archive claim more than its size")
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise damaged(name, f"{shown(entry)!r} in its zip archive: {error}") from error

    if f"{root}/byteorder" in entries:
        order = read("byteorder")
        _require_little_endian(
            name, order == b"little", repr(order[:16].decode("ascii", "replace"))
        )
    value, refs = read_pickle(io.BytesIO(read("data.pkl")), name)

    def load(key: str, size: int) -> bytes:
        content = read(f"data/{key}")
        if len(content) != size:
            raise damaged(name, f"storage {shown(key)} has {len(content)} bytes, not {size}")
        return content

    return value, refs, load


def _read_legacy(file: BinaryIO, name: str) -> tuple[Any, _Refs, _Load]:
    for expected in (_LEGACY_MAGIC, _LEGACY_VERSION):
        number, _ = read_pickle(file, name)
        if type(number) is not int or number != expected:
            raise WeightsError(
                f"{name} is not a PyTorch checkpoint that can be read",
                why="it is a pickle, but does not begin as PyTorch's do",
            )
    system, _ = read_pickle(file, name)
    little = system.get("little_endian") if isinstance(system, dict) else None
    _require_little_endian(name, little is True, "big-endian" if little is False else "not stated")
    value, refs = read_pickle(file, name)
    keys, _ = read_pickle(file, name)
    # Only text: a key of tuples in tuples would take for ever to hash or to print.
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise damaged(name, "its list of storages is not one of names")
    if set(refs) - set(keys):
        raise damaged(name, "its list of storages lacks some that its tensors use")
    size = _size(file)
    places: dict[str, int] = {}
    position = file.tell()
    for key in keys:
        if key not in refs:  # its element size, so where it ends, cannot be known
            raise damaged(name, f"no tensor uses its storage {shown(key)}")
        file.seek(position)
        count = int.from_bytes(file.read(8), "little", signed=True)
        begin = position + 8
        position = begin + count * refs[key].type.itemsize
        if key in places or count != refs[key].count or position > size:
            raise damaged(name, f"storage {shown(key)} is cut short or has the wrong size")
        places[key] = begin

    def load(key: str, length: int) -> bytes:
        file.seek(places[key])
        return file.read(length)

    return value, refs, load


def _state_dict(value: Any, name: str) -> dict[str, TensorRef]:
    """The one dictionary of tensors in ``value``: itself, or an entry with a usual name."""
    found = value
    if isinstance(value, dict) and not _is_state_dict(value):
        found = next((value[key] for key in _NESTED_IN if _is_state_dict(value.get(key))), None)
    if not _is_state_dict(found):
        keys = (
            ", ".join(shown(key, 40) for key in islice(value, 5)) if isinstance(value, dict) else ""
        )
        raise WeightsError(
            f"{name} holds no state dict",
            why=f"its entries are {keys}" if keys else f"it holds a {type(value).__name__}",
            todo="save model.state_dict() alone",
        )
    require_names(found, name)
    prefix = _PREFIX if all(key.startswith(_PREFIX) for key in found) else ""
    return {key.removeprefix(prefix): ref for key, ref in found.items()}


def require_names(names: Collection[str], name: str) -> None:
    """Refuse entries in such number, or under such names, as no network's state dict has.

    Raises:
        WeightsError: there are too many, or one is too long or holds control codes.
    """
    if len(names) > MAX_ENTRIES:
        raise damaged(name, f"it has {len(names):,} entries, and at most {MAX_ENTRIES:,} are read")
    for entry in names:
        if len(entry) > MAX_NAME or not entry.isprintable():
            raise damaged(name, f"its entry {shown(entry)!r} has no name of a tensor")


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, TensorRef) for k, v in value.items())
    )


def _storage(ref: StorageRef, load: _Load) -> NDArray[Any]:
    """The whole storage as a flat array of its element type."""
    content = load(ref.key, ref.count * ref.type.itemsize)
    if ref.type.dtype == "bfloat16":  # the upper half of a float32
        halves = np.frombuffer(content, "<u2").astype(np.uint32)
        wide: NDArray[np.float32] = (halves << np.uint32(16)).view(np.float32)
        return wide
    if ref.type.dtype == "|b1":  # a byte other than 0 and 1 is no valid NumPy bool
        return np.not_equal(np.frombuffer(content, np.uint8), 0, dtype=np.bool_)
    flat: NDArray[Any] = np.frombuffer(content, ref.type.dtype)
    return flat


def _tensor(key: str, ref: TensorRef, storage: NDArray[Any], name: str) -> NDArray[Any]:
    """View ``storage`` with the tensor's offset, shape and strides, all checked first."""
    size = math.prod(ref.shape)
    limit = ref.storage.count
    last = ref.offset + sum((n - 1) * s for n, s in zip(ref.shape, ref.strides, strict=True))
    # An expanded tensor (stride 0) can claim any size from a few bytes, so none may hold more
    # elements than its storage.
    if size and (last >= limit or size > limit):
        raise damaged(name, f"tensor {shown(key)} of shape {ref.shape[:8]} exceeds its storage")
    step = storage.itemsize
    begin = ref.storage.start + ref.offset if size else 0
    try:
        view: NDArray[Any] = np.ndarray(
            ref.shape, storage.dtype, storage, begin * step, tuple(s * step for s in ref.strides)
        )
    except ValueError as error:  # one size of 0, and others whose product NumPy cannot hold
        raise damaged(name, f"tensor {shown(key)} has the shape {ref.shape[:8]}") from error
    view.flags.writeable = False
    return view
