"""Verification sets in insightface's ``.bin`` container, read without running what it says.

The file is a pickle of (encoded images, truths): two images a pair, one truth a pair. Pickles
can name any function to be called while they are read; this reader knows the few names such a
file needs, none of which does anything but hold bytes, and refuses every other.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faceflow.errors import InputError
from faceflow.evaluation.data.dataset import Dataset, LeftOut, Pair, Photo
from faceflow.evaluation.data.layout import Origin
from faceflow.evaluation.data.lists import FOLDS
from faceflow.system.files import read_regular

ORIGIN = Origin(
    "insightface .bin",
    "https://github.com/deepinsight/insightface (recognition/_datasets_)",
)


def read_bin(root: Path) -> Dataset:
    """Read one ``.bin`` file: lfw, calfw, cplfw, agedb_30, cfp_fp, cfp_ff, vgg2_fp, ...

    The container names nobody: photos have no person, and serve verification alone. An image
    that several pairs use is kept once.

    Raises:
        InputError: the file is missing, damaged, not such a container, or names anything to be
            called; in no case is anything from it executed.
    """
    images, truths = _load(ORIGIN.file(root))
    if len(images) != 2 * len(truths):
        raise InputError(
            f"{root} holds {len(images):,} images and {len(truths):,} truths",
            why="each truth needs two images",
        )
    position: dict[bytes, int] = {}
    photos: list[Photo] = []
    left_out: list[LeftOut] = []
    for n, image in enumerate(images):
        if not image:
            left_out.append(LeftOut(root, "an empty image, and its pair"))
        elif image not in position:
            position[image] = len(photos)
            photos.append(Photo(root, "", f"{root.stem}/{n:05d}", content=image))
    pairs = tuple(
        # insightface's own division: ten contiguous, unshuffled folds of the whole file.
        Pair(position[a], position[b], same, n * FOLDS // len(truths))
        for n, (same, a, b) in enumerate(zip(truths, images[::2], images[1::2], strict=True))
        if a and b
    )
    return Dataset(root.stem, root, tuple(photos), tuple(left_out), pairs)


_LIMIT = 2**31  # bytes; the largest published file has 600 MB
_MAX_STEPS = 2_000_000  # opcodes; the published files have some ten for each of 14,000 images
_HASHING = frozenset({"DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET"})


def _load(path: Path) -> tuple[list[bytes], list[bool]]:
    try:
        data = read_regular(path, limit=_LIMIT, kind="insightface .bin file")
        _require_harmless(data)
        # "bytes": Python 2 wrote its images as plain strings.
        loaded = _Reader(io.BytesIO(data), encoding="bytes").load()
    except InputError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise InputError(
            f"{path} cannot be read as an insightface .bin file",
            why=str(error) or type(error).__name__,
            todo="download it again",
        ) from error
    match loaded:
        case [images, truths]:
            return (
                [_encoded(path, image) for image in _items(path, images)],
                [_truth(path, truth) for truth in _items(path, truths)],
            )
    raise _unlike(path, "a pair of images and truths")


def _require_harmless(data: bytes) -> None:
    """Refuse what no honest file has and what could hold up the reader or fill the memory.

    Dictionaries and sets are not needed, and hashing a key of nested tuples that share their
    halves takes for ever. The reader would allocate all slots up to the highest number.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > _MAX_STEPS:
            raise pickle.UnpicklingError(f"it takes more than {_MAX_STEPS:,} steps")
        if opcode.name in _HASHING:
            raise pickle.UnpicklingError("it holds a dictionary or a set")
        if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(data):
            raise pickle.UnpicklingError("it stores a value in an impossible place")


def _unlike(path: Path, expected: str) -> InputError:
    return InputError(f"{path} is not an insightface .bin file", why=f"expected {expected}")


def _items(path: Path, value: object) -> list[Any]:
    match value:
        case list() | tuple():
            return list(value)
        case _Array(shape=(_,)):
            return list(value.data)
    raise _unlike(path, "a list")


def _encoded(path: Path, value: object) -> bytes:
    match value:
        case bytes() | bytearray():
            return bytes(value)
        case _Array(kind="u1", shape=(_,)):
            return value.data
    raise _unlike(path, "encoded images as bytes or one-dimensional uint8 arrays")


def _truth(path: Path, value: object) -> bool:
    if isinstance(value, int) and value in (0, 1):  # bool is an int
        return bool(value)
    raise _unlike(path, "truths that are true or false")


class _Type:
    """Stands for numpy.dtype: its code, "u1" or "b1" for what such a file may hold."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which mean nothing for one-byte elements."""


class _Array:
    """Stands for numpy.ndarray: shape and bytes, checked, nothing else."""

    def __init__(self) -> None:
        self.kind = ""
        self.shape: tuple[int, ...] = ()
        self.data = b""

    def __setstate__(self, state: object) -> None:
        match state:
            case (_, tuple(shape), _Type(code=kind), _, (bytes() | bytearray()) as data):
                self.fill(kind, shape, data)
            case _:
                raise pickle.UnpicklingError("it holds an array of another kind than bytes")

    def fill(self, kind: object, shape: tuple[Any, ...], data: bytes | bytearray) -> None:
        size = 1
        for side in shape:
            if type(side) is not int or side < 0:
                raise pickle.UnpicklingError("it holds an array with an impossible shape")
            size *= side
        if not isinstance(kind, str) or kind not in ("u1", "b1") or size != len(data):
            raise pickle.UnpicklingError("it holds an array of another kind than bytes")
        self.kind, self.shape, self.data = kind, shape, bytes(data)


class _Callable:
    """What a known name reads as. It cannot be changed from inside the file."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., object]) -> None:
        self._call = call

    def __call__(self, *arguments: object) -> object:
        return self._call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it tries to change the reader")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(data: object, kind: object, shape: object, *_: object) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, False, data))
    return array


def _scalar(kind: object, data: object) -> int:
    array = _Array()
    array.__setstate__((1, (1,), kind, False, data))
    return array.data[0]


def _text_to_bytes(text: object, encoding: object) -> bytes:
    # Python 3 writes bytes this way for readers as old as Python 2.
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError("it encodes something else than bytes")
    return text.encode("latin1")


def _no_bytes(*arguments: object) -> bytes:
    if arguments:
        raise pickle.UnpicklingError("it makes bytes from something")
    return b""


_CORES = ("core", "_core")  # NumPy 2 renamed it
_KNOWN: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _text_to_bytes,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in _CORES},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in _CORES},
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the names above and nothing else."""

    def find_class(self, module: str, name: str) -> _Callable:
        known = _KNOWN.get((module, name))
        if known is None:
            raise InputError(
                f"The file asks for {module[:80]}.{name[:80]} and was refused",
                why="an insightface .bin file needs bytes and truths only; nothing was executed",
                todo="do not open this file with Python's own pickle",
            )
        return _Callable(known)
