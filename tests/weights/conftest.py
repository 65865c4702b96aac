"""Checkpoints in PyTorch's formats, and wheels, written by hand: no PyTorch is needed."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceflow.weights import Licence, ModelFile, Tensors, WheelFile

CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


@dataclass
class Storage:
    key: str
    dtype: str
    content: bytes
    claim: int | None = None  # elements the pickle claims, when it lies

    @property
    def count(self) -> int:
        size = 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize
        return len(self.content) // size


@dataclass
class Tensor:
    storage: Storage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    parameter: bool = False
    view: tuple[Any, ...] | None = None


@dataclass
class Raw:
    """Pickle instructions put in as they are."""

    code: bytes
    storages: list[Storage] = field(default_factory=list)


def tensor(values: np.ndarray, key: str, **options: Any) -> Tensor:
    values = np.asarray(values)
    strides = tuple(s // values.itemsize for s in values.strides)
    flat = values.ravel(order="K").tobytes()
    return Tensor(Storage(key, values.dtype.name, flat), values.shape, strides, **options)


def opcode_global(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def encode(value: Any, *, legacy: bool = False) -> bytes:
    """Pickle instructions (protocol 2) that build ``value``."""

    def enc(item: Any) -> bytes:
        return encode(item, legacy=legacy)

    match value:
        case Raw():
            return value.code
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(enc, value)) + b"t"
        case list():
            return b"](" + b"".join(map(enc, value)) + b"e"
        case OrderedDict():
            items = b"".join(enc(k) + enc(v) for k, v in value.items())
            return opcode_global("collections", "OrderedDict") + b")R(" + items + b"u"
        case dict():
            return b"}(" + b"".join(enc(k) + enc(v) for k, v in value.items()) + b"u"
        case Tensor():
            s = value.storage
            count = s.count if s.claim is None else s.claim
            end = (enc(value.view),) if legacy else ()
            storage = b"(" + enc("storage") + opcode_global("torch", CLASSES[s.dtype])
            storage += enc(s.key) + enc("cpu") + enc(count) + b"".join(end) + b"tQ"
            rest = enc(value.offset) + enc(value.shape) + enc(value.strides) + b"\x89"
            rest += enc(OrderedDict()) + b"tR"
            made = opcode_global("torch._utils", "_rebuild_tensor_v2") + b"(" + storage + rest
            if value.parameter:
                call = opcode_global("torch._utils", "_rebuild_parameter")
                made = call + b"(" + made + b"\x88" + enc(OrderedDict()) + b"tR"
            return made
    raise TypeError(type(value))


def dumps(value: Any, *, legacy: bool = False) -> bytes:
    return b"\x80\x02" + encode(value, legacy=legacy) + b"."


def storages(value: Any) -> Iterable[Storage]:
    if isinstance(value, Tensor):
        yield value.storage
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from storages(item)
    elif isinstance(value, Raw):
        yield from value.storages


def zip_file(
    value: Any,
    *,
    root: str = "archive",
    byteorder: bytes | None = b"little",
    extra: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """The format since PyTorch 1.6."""
    entries = {f"{root}/data.pkl": value if isinstance(value, bytes) else dumps(value)}
    entries |= {f"{root}/data/{s.key}": s.content for s in storages(value)}
    if byteorder is not None:
        entries[f"{root}/byteorder"] = byteorder
    entries[f"{root}/version"] = b"3\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in (entries | dict(extra or {})).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def legacy_file(value: Any, *, little: Any = True, keys: Any = None, tail: bytes = b"") -> bytes:
    """The format before PyTorch 1.6."""
    unique = {s.key: s for s in storages(value)}
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}
    parts = [dumps(0x1950A86A20F9469CFC6C), dumps(1001), dumps(system)]
    parts.append(value if isinstance(value, bytes) else dumps(value, legacy=True))
    parts.append(dumps(list(unique) if keys is None else keys))
    parts += [struct.pack("<q", s.count) + s.content for s in unique.values()]
    return b"".join(parts) + tail


@pytest.fixture(scope="session")
def torch_files() -> SimpleNamespace:
    return SimpleNamespace(
        Storage=Storage,
        Tensor=Tensor,
        Raw=Raw,
        tensor=tensor,
        encode=encode,
        dumps=dumps,
        named=opcode_global,
        zip=zip_file,
        legacy=legacy_file,
    )


LICENCE = Licence(code="MIT", weights="MIT", training_data="none", note="made for tests")


@dataclass(frozen=True)
class Toy:
    """A model of two files in one wheel, with everything a test needs to pull it."""

    model: ModelFile
    wheel: Path
    members: Mapping[str, bytes]


def build_toy(files: Mapping[str, Tensors]) -> dict[str, bytes]:
    return {
        Path(member).stem: b"graph:" + tensors["w"].tobytes() for member, tensors in files.items()
    }


def write_wheel(path: Path, package: str, members: Mapping[str, bytes]) -> Path:
    info = f"{package.replace('-', '_')}-1.0.dist-info"
    files = dict(members)
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        "Requires-Dist: a-package-that-must-not-be-fetched\n"
    ).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
    files[f"{info}/RECORD"] = record.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), content)
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    members = {
        f"toy_weights/data/{name}.pt": zip_file({"w": tensor(np.arange(n, dtype=np.float32), "0")})
        for name, n in (("first", 3), ("second", 5))
    }
    folder = tmp_path / "wheels"
    folder.mkdir()
    path = write_wheel(folder / "toy_weights-1.0-py3-none-any.whl", "toy-weights", members)
    sources = tuple(
        WheelFile(
            package="toy-weights",
            version="1.0",
            wheel_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            member=member,
            member_sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            upstream="made for tests",
        )
        for member, content in members.items()
    )
    model = ModelFile(
        name="toy",
        title="A toy",
        kind="network",
        sources=sources,
        licence=LICENCE,
        graphs=("first", "second"),
        builder=1,
        build=build_toy,
    )
    return Toy(model, path, members)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache folder"
    monkeypatch.setenv("FACEFLOW_CACHE", str(folder))
    return folder
