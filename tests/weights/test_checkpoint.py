"""Both checkpoint formats, read without PyTorch; every way a file can be wrong."""

from __future__ import annotations

import io
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceflow.errors import WeightsError
from faceflow.weights import read_checkpoint

FORMATS = ("zip", "legacy")


def write(torch_files: SimpleNamespace, kind: str, value: object, **options: object) -> bytes:
    return bytes(getattr(torch_files, kind)(value, **options))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "dtype",
    ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"],
)
def test_every_element_type(torch_files: SimpleNamespace, kind: str, dtype: str) -> None:
    values = (np.arange(24).reshape(2, 3, 4) % 5 - 1).astype(dtype)
    state = OrderedDict(a=torch_files.tensor(values, "0"))
    found = read_checkpoint(write(torch_files, kind, state))
    assert list(found) == ["a"]
    assert found["a"].dtype == values.dtype
    np.testing.assert_array_equal(found["a"], values)


@pytest.mark.parametrize("kind", FORMATS)
def test_bfloat16_widens_without_loss(torch_files: SimpleNamespace, kind: str) -> None:
    exact = np.array([1.0, -2.5, 3.140625, 0.0, np.inf, 2.0**-130], np.float32)
    upper = (exact.view(np.uint32) >> 16).astype("<u2").tobytes()
    stored = torch_files.Tensor(torch_files.Storage("0", "bfloat16", upper), (6,), (1,))
    found = read_checkpoint(write(torch_files, kind, {"a": stored}))["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact)


@pytest.mark.parametrize("kind", FORMATS)
def test_bool_bytes_other_than_one_are_true(torch_files: SimpleNamespace, kind: str) -> None:
    stored = torch_files.Tensor(torch_files.Storage("0", "bool", b"\0\1\2\xff"), (4,), (1,))
    found = read_checkpoint(write(torch_files, kind, {"a": stored}))["a"]
    assert found.tolist() == [False, True, True, True]
    assert int(found.sum()) == 3


@pytest.mark.parametrize("kind", FORMATS)
def test_views_of_one_storage(torch_files: SimpleNamespace, kind: str) -> None:
    values = np.arange(30, dtype=np.float32)
    storage = torch_files.Storage("0", "float32", values.tobytes())
    state = {
        "whole": torch_files.Tensor(storage, (30,), (1,)),
        "transposed": torch_files.Tensor(storage, (5, 6), (1, 5)),
        "window": torch_files.Tensor(storage, (2, 3), (10, 2), offset=7),
        "scalar": torch_files.Tensor(storage, (), (), offset=29),
        "empty": torch_files.Tensor(storage, (0, 4), (4, 1), offset=30),
        "parameter": torch_files.Tensor(storage, (3,), (1,), parameter=True),
    }
    found = read_checkpoint(write(torch_files, kind, state))
    np.testing.assert_array_equal(found["whole"], values)
    np.testing.assert_array_equal(found["transposed"], values.reshape(6, 5).T)
    np.testing.assert_array_equal(found["window"], [[7, 9, 11], [17, 19, 21]])
    assert found["scalar"].shape == ()
    assert found["scalar"] == 29
    assert found["empty"].shape == (0, 4)
    np.testing.assert_array_equal(found["parameter"], [0, 1, 2])
    assert not any(array.flags.writeable for array in found.values())


def test_legacy_view_of_a_storage(torch_files: SimpleNamespace) -> None:
    storage = torch_files.Storage("0", "int32", np.arange(10, dtype=np.int32).tobytes())
    part = torch_files.Tensor(storage, (2,), (1,), offset=1, view=("v", 4, 3))
    whole = torch_files.Tensor(storage, (10,), (1,))
    found = read_checkpoint(torch_files.legacy({"part": part, "whole": whole}))
    assert found["part"].tolist() == [5, 6]
    beyond = torch_files.Tensor(storage, (3,), (1,), offset=1, view=("v", 4, 3))
    with pytest.raises(WeightsError, match="exceeds its storage"):
        read_checkpoint(torch_files.legacy({"beyond": beyond}))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    order=st.randoms(use_true_random=False),
    dtype=st.sampled_from(["float32", "float16", "int64", "uint8"]),
    kind=st.sampled_from(FORMATS),
)
def test_any_shape_and_axis_order(
    torch_files: SimpleNamespace, shape: list[int], order: object, dtype: str, kind: str
) -> None:
    axes = list(range(len(shape)))
    order.shuffle(axes)  # type: ignore[attr-defined]
    values = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape).transpose(axes)
    found = read_checkpoint(write(torch_files, kind, {"a": torch_files.tensor(values, "0")}))["a"]
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("where", ["state_dict", "model_state_dict", "model", "net"])
def test_nested_state_dict_and_prefix(torch_files: SimpleNamespace, kind: str, where: str) -> None:
    state = OrderedDict(
        (f"module.{name}", torch_files.tensor(np.ones(2, np.float32), name)) for name in "ab"
    )
    value = {"epoch": 3, "best": 0.5, "note": "x", "done": True, "none": None, where: state}
    assert list(read_checkpoint(write(torch_files, kind, value))) == ["a", "b"]


def test_prefix_stays_when_it_is_not_shared(torch_files: SimpleNamespace) -> None:
    state = {
        name: torch_files.tensor(np.ones(1, np.float32), str(i))
        for i, name in enumerate(["module.a", "b"])
    }
    assert list(read_checkpoint(torch_files.zip(state))) == ["module.a", "b"]


def test_metadata_of_a_state_dict_is_ignored(torch_files: SimpleNamespace) -> None:
    state = OrderedDict(a=torch_files.tensor(np.ones(1, np.float32), "0"))
    built = torch_files.encode(state) + torch_files.encode({"_metadata": OrderedDict()}) + b"b"
    raw = torch_files.Raw(built, [state["a"].storage])
    assert list(read_checkpoint(torch_files.zip(raw))) == ["a"]


def test_ordered_dict_of_python_2(torch_files: SimpleNamespace) -> None:
    values = torch_files.tensor(np.ones(1, np.float32), "0")
    pairs = torch_files.encode(([["a", values]],))
    code = torch_files.named("collections", "OrderedDict") + pairs + b"R"
    raw = torch_files.Raw(code, [values.storage])
    assert list(read_checkpoint(torch_files.zip(raw))) == ["a"]


def test_memo_and_newer_protocol(torch_files: SimpleNamespace) -> None:
    values = torch_files.tensor(np.arange(2, dtype=np.float32), "0")
    code = torch_files.encode({"a": values})
    # Protocol 4 with a frame; names by STACK_GLOBAL, the tensor kept in the memo and recalled.
    code = code.replace(
        torch_files.named("torch", "FloatStorage"),
        b"\x8c\x05torch\x8c\x0cFloatStorage\x93",
    )
    assert b"\x93" in code
    code = code[:-1] + b"\x94" + b"X\1\0\0\0b" + b"h\0" + b"u"
    pickle = b"\x80\x04\x95" + (len(code) + 1).to_bytes(8, "little") + code + b"."
    content = torch_files.zip(pickle, extra={"archive/data/0": values.storage.content})
    found = read_checkpoint(content)
    assert found["a"].tolist() == found["b"].tolist() == [0, 1]


def test_reads_an_open_file(torch_files: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "näme with space.pth"
    for kind in FORMATS:
        path.write_bytes(
            write(torch_files, kind, {"a": torch_files.tensor(np.ones(1, np.int8), "0")})
        )
        with path.open("rb") as file:
            assert read_checkpoint(file)["a"] == 1


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "value", [{}, {"epoch": 3}, [1], 7, {"a": {"deep": {}}}, {"state_dict": {"a": 1}}, {1: 2}]
)
def test_no_state_dict(torch_files: SimpleNamespace, kind: str, value: object) -> None:
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_checkpoint(write(torch_files, kind, value))


@pytest.mark.parametrize("order", [b"big", b"", b"middle\xff"])
def test_zip_byte_order(torch_files: SimpleNamespace, order: bytes) -> None:
    state = {"a": torch_files.tensor(np.ones(1, np.float32), "0")}
    with pytest.raises(WeightsError, match="byte order"):
        read_checkpoint(torch_files.zip(state, byteorder=order))
    assert read_checkpoint(torch_files.zip(state, byteorder=None))["a"] == 1


@pytest.mark.parametrize(("little", "said"), [(False, "big-endian"), (None, "not stated")])
def test_legacy_byte_order(torch_files: SimpleNamespace, little: object, said: str) -> None:
    state = {"a": torch_files.tensor(np.ones(1, np.float32), "0")}
    with pytest.raises(WeightsError, match=f"byte order is {said}"):
        read_checkpoint(torch_files.legacy(state, little=little))


def test_not_a_checkpoint(torch_files: SimpleNamespace) -> None:
    for content, why in [
        (b"", "neither a zip archive nor a pickle"),
        (b"<html>not found</html>", "neither a zip archive nor a pickle"),
        (torch_files.dumps({"a": 1}), "does not begin as PyTorch's do"),
    ]:
        with pytest.raises(WeightsError, match=why):
            read_checkpoint(content)


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_anywhere(torch_files: SimpleNamespace, kind: str) -> None:
    whole = write(torch_files, kind, {"a": torch_files.tensor(np.arange(5, dtype=np.float32), "0")})
    for end in range(len(whole)):
        with pytest.raises(WeightsError):
            read_checkpoint(whole[:end])


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_gives_arrays_or_a_weights_error(
    torch_files: SimpleNamespace, kind: str, data: st.DataObject
) -> None:
    content = bytearray(
        write(torch_files, kind, {"a": torch_files.tensor(np.arange(5, dtype=np.float32), "0")})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_checkpoint(bytes(content))
    except WeightsError:
        return
    assert sum(array.nbytes for array in found.values()) <= len(content)


def test_corrupt_storage_is_noticed(torch_files: SimpleNamespace) -> None:
    values = np.arange(5, dtype=np.float32)
    content = torch_files.zip({"a": torch_files.tensor(values, "0")})
    damaged = content.replace(values.tobytes(), values[::-1].tobytes())
    assert damaged != content
    with pytest.raises(WeightsError, match="CRC"):
        read_checkpoint(damaged)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((1 << 40,), (0,), 0),  # expanded: any size from one element
        ((1 << 20, 1 << 20), (0, 0), 0),
        ((4,), (2,), 0),
        ((4,), (1,), 1),
        ((1,), (1,), 4),
        ((2, 2), (1, 3), 0),
        ((0, 1 << 47), (1, 1), 1 << 47),  # empty, but the product of its sizes is not small
    ],
)
def test_tensor_beyond_its_storage(
    torch_files: SimpleNamespace,
    kind: str,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
) -> None:
    storage = torch_files.Storage("0", "float32", bytes(16))
    state = {"a": torch_files.Tensor(storage, shape, strides, offset)}
    content = write(torch_files, kind, state)
    if 0 in shape:
        assert read_checkpoint(content)["a"].size == 0
        return
    with pytest.raises(WeightsError, match="exceeds its storage"):
        read_checkpoint(content)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((-1,), (1,), 0),
        ((1,), (-1,), 0),
        ((1,), (1,), -1),
        ((1,), (), 0),
        ((1 << 60,), (1,), 0),
        ((1,) * 33, (1,) * 33, 0),
        (("x",), (1,), 0),
        ((True,), (1,), 0),
    ],
)
def test_senseless_tensor(
    torch_files: SimpleNamespace, kind: str, shape: tuple, strides: tuple, offset: int
) -> None:
    storage = torch_files.Storage("0", "float32", bytes(16))
    state = {"a": torch_files.Tensor(storage, shape, strides, offset)}
    with pytest.raises(WeightsError, match="make no sense"):
        read_checkpoint(write(torch_files, kind, state))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("claim", [5, 1 << 40, 3, 0])
def test_storage_of_another_size_than_claimed(
    torch_files: SimpleNamespace, kind: str, claim: int
) -> None:
    storage = torch_files.Storage("0", "float32", bytes(16), claim)
    state = {"a": torch_files.Tensor(storage, (4,), (1,))}
    with pytest.raises(WeightsError, match=r"not 20|has 16 bytes|wrong size"):
        read_checkpoint(write(torch_files, kind, state))


def test_storage_described_twice(torch_files: SimpleNamespace) -> None:
    state = {
        "a": torch_files.Tensor(torch_files.Storage("0", "float32", bytes(16)), (4,), (1,)),
        "b": torch_files.Tensor(torch_files.Storage("0", "int64", bytes(16)), (2,), (1,)),
    }
    with pytest.raises(WeightsError, match="in two ways"):
        read_checkpoint(torch_files.zip(state))


@pytest.mark.parametrize("keys", [[], ["other"], ["0", "1"], [1], 5])
def test_legacy_storage_list(torch_files: SimpleNamespace, keys: object) -> None:
    state = {"a": torch_files.tensor(np.ones(1, np.float32), "0")}
    with pytest.raises(WeightsError, match="storage"):
        read_checkpoint(torch_files.legacy(state, keys=keys))


def rezip(content: bytes, rename: dict[str, str], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w", compression) as new,
    ):
        for entry in old.namelist():
            new.writestr(rename.get(entry, entry), old.read(entry))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "archive/../../evil", "archive\\evil", "other/data/0", "loose"],
)
def test_zip_path_tricks(torch_files: SimpleNamespace, name: str) -> None:
    content = torch_files.zip(
        {"a": torch_files.tensor(np.ones(1, np.float32), "0")}, extra={name: b"x"}
    )
    with pytest.raises(WeightsError, match="holds the path"):
        read_checkpoint(content)


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/passwd", "missing"])
def test_storage_keys_are_looked_up_never_opened(torch_files: SimpleNamespace, key: str) -> None:
    state = {"a": torch_files.tensor(np.ones(1, np.float32), key)}
    content = torch_files.zip(torch_files.dumps(state))
    with pytest.raises(WeightsError, match="lacks"):
        read_checkpoint(content)


def test_zip_without_pickle(torch_files: SimpleNamespace) -> None:
    content = torch_files.zip({"a": torch_files.tensor(np.ones(1, np.float32), "0")})
    with pytest.raises(WeightsError, match=r"lacks 'data\.pkl'"):
        read_checkpoint(rezip(content, {"archive/data.pkl": "archive/else.pkl"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip_with_two_entries_of_one_name(torch_files: SimpleNamespace) -> None:
    content = torch_files.zip({"a": torch_files.tensor(np.ones(1, np.float32), "0")})
    with pytest.raises(WeightsError, match="two entries of one name"):
        read_checkpoint(rezip(content, {"archive/version": "archive/data.pkl"}))


def test_compressed_zip_is_refused_before_it_expands(torch_files: SimpleNamespace) -> None:
    values = torch_files.tensor(np.zeros(1_000_000, np.float32), "0")
    content = torch_files.zip({"a": values}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed"):
        read_checkpoint(content)


def test_overlapping_zip_entries_cannot_multiply(torch_files: SimpleNamespace) -> None:
    """A directory that points many names at one run of bytes: more content than file."""
    size, copies = 100_000, 30
    whole = torch_files.Storage("00", "uint8", bytes(size))
    content = torch_files.zip({"a": torch_files.Tensor(whole, (size,), (1,))})
    state = {}
    for i in range(copies):
        storage = torch_files.Storage(f"{i:02}", "uint8", bytes(size))
        state[f"t{i}"] = torch_files.Tensor(storage, (size,), (1,))
    pickled = torch_files.dumps(state)
    honest = torch_files.zip(pickled, extra={"archive/data/00": bytes(size)})
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        entry = archive.getinfo("archive/data/00")
    directory = honest.index(b"PK\1\2")
    end = honest.index(b"PK\5\6")
    records = honest[directory:end]
    own = next(r for r in records.split(b"PK\1\2") if b"archive/data/00" in r)
    # The local header repeats the name, so a reader that compares them stops there too.
    more = b"".join(
        b"PK\1\2" + own.replace(b"archive/data/00", f"archive/data/{i:02}".encode())
        for i in range(1, copies)
    )
    count = len(archive.infolist()) + copies - 1
    tail = bytearray(honest[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = (len(records) + len(more)).to_bytes(4, "little")
    assert entry.file_size == size
    assert len(content) > size
    with pytest.raises(WeightsError, match=r"differ|overlap|claim more"):
        read_checkpoint(honest[:end] + more + bytes(tail))
