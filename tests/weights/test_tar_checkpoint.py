"""The tar archives of the first PyTorch versions, written by hand."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceflow.errors import UnsafeCheckpointError, WeightsError
from faceflow.weights import read_checkpoint

A = np.arange(12, dtype=np.float32).reshape(3, 4)
B = np.array([5, -7], np.int64)


def named(name: str) -> bytes:
    return b"ctorch\n" + name.encode() + b"\n"


def entry(torch_files: SimpleNamespace, *parts: bytes) -> bytes:
    """A pickle of a tuple whose items are given as instructions."""
    return b"\x80\x02(" + b"".join(parts) + b"t."


def files(torch_files: SimpleNamespace) -> dict[str, bytes]:
    """``{"a": A.T, "last row": A[2], "b": B}``: two storages, and a view into the first."""
    enc, dumps = torch_files.encode, torch_files.dumps
    storages = dumps(2)
    for key, kind, array in ((101, "FloatStorage", A), (202, "LongStorage", B)):
        storages += entry(torch_files, enc(key), enc("cpu"), named(kind))
        storages += struct.pack("<q", array.size) + array.tobytes()
    storages += dumps([(303, 101, 8, 4)])
    tensors = dumps(3)
    for key, storage, kind, shape, strides in (
        (1, 101, "FloatTensor", (4, 3), (1, 4)),
        (2, 303, "FloatTensor", (4,), (1,)),
        (3, 202, "LongTensor", (2,), (1,)),
    ):
        tensors += entry(torch_files, enc(key), enc(storage), named(kind))
        tensors += struct.pack(f"<q{2 * len(shape)}qq", len(shape), *shape, *strides, 0)
    keys = {"a": "1", "last row": "2", "b": "3"}
    value = OrderedDict((k, torch_files.Raw(enc(number) + b"Q")) for k, number in keys.items())
    system = {"protocol_version": 1000, "little_endian": True, "type_sizes": {}}
    return {
        "sys_info": pickle.dumps(system, protocol=2),
        "storages": storages,
        "tensors": tensors,
        "pickle": dumps(value),
    }


def pack(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def check(found: dict[str, Any]) -> None:
    assert list(found) == ["a", "last row", "b"]
    np.testing.assert_array_equal(found["a"], A.T)
    np.testing.assert_array_equal(found["last row"], A[2])
    np.testing.assert_array_equal(found["b"], B)
    assert np.asarray(found["b"]).dtype == np.int64


def test_tensors_and_views(torch_files: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "old.pth.tar"
    path.write_bytes(pack(files(torch_files)))
    check(read_checkpoint(path))


def test_pytorch_reads_the_same(torch_files: SimpleNamespace, tmp_path: Path) -> None:
    """The files above are what they claim to be: PyTorch still reads this format."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    path = tmp_path / "old.pth.tar"
    path.write_bytes(pack(files(torch_files)))
    check(torch.load(path, weights_only=False))


def test_truncated_anywhere(torch_files: SimpleNamespace) -> None:
    entries = files(torch_files)
    for name in ("storages", "tensors", "pickle"):
        for end in range(len(entries[name])):
            with pytest.raises(WeightsError):
                read_checkpoint(pack(entries | {name: entries[name][:end]}))
    whole = pack(entries)
    needed = whole.index(entries["pickle"]) + len(entries["pickle"])
    for end in [*range(0, needed, 256), needed - 1]:
        with pytest.raises(WeightsError):
            read_checkpoint(whole[:end])


def test_entries_that_are_missing_or_no_files(torch_files: SimpleNamespace) -> None:
    entries = files(torch_files)
    del entries["tensors"]
    with pytest.raises(WeightsError, match=r"without an entry 'tensors'.*unpack it"):
        read_checkpoint(pack(entries))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(WeightsError, match="without an entry 'storages'"):
        read_checkpoint(buffer.getvalue())


def test_nothing_is_executed(torch_files: SimpleNamespace, tmp_path: Path) -> None:
    evil = b"\x80\x02cos\nmkdir\n(X" + struct.pack("<I", 8) + b"executedtR."
    for name in ("storages", "tensors", "pickle"):
        with pytest.raises(UnsafeCheckpointError, match=r"os\.mkdir"):
            read_checkpoint(pack(files(torch_files) | {name: evil}))
    # A tensor class may be named, and is not called.
    called = b"\x80\x02" + named("FloatTensor") + b")R."
    with pytest.raises(UnsafeCheckpointError):
        read_checkpoint(pack(files(torch_files) | {"pickle": called}))


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (0, 40, "40 dimensions"),
        (1, 5, "exceeds its storage"),
        (1, 2**62, "make no sense"),
        (3, -1, "make no sense"),
        (5, 2, "exceeds its storage"),
    ],
)
def test_a_tensor_that_lies(
    torch_files: SimpleNamespace, place: int, value: int, match: str
) -> None:
    """Dimensions, sizes (2), strides (2) and offset of the first tensor, one changed."""
    entries = files(torch_files)
    head = struct.pack("<q5q", 2, 4, 3, 1, 4, 0)
    numbers = [2, 4, 3, 1, 4, 0]
    numbers[place] = value
    changed = entries["tensors"].replace(head, struct.pack("<6q", *numbers), 1)
    assert changed != entries["tensors"]
    with pytest.raises(WeightsError, match=match):
        read_checkpoint(pack(entries | {"tensors": changed}))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_changed_bytes_end_well(torch_files: SimpleNamespace, data: st.DataObject) -> None:
    entries = files(torch_files)
    name = data.draw(st.sampled_from(["storages", "tensors", "pickle"]))
    content = bytearray(entries[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_checkpoint(pack(entries | {name: bytes(content)}))
    except WeightsError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
