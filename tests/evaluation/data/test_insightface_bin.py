"""The .bin reader: every way such files were written, and none that runs anything."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceflow.errors import FaceflowError, InputError
from faceflow.evaluation.data import read
from faceflow.evaluation.data.insightface_bin import read_bin

IMAGES = [b"\xff\xd8one", b"two\x00\x80", b"three", b"\xff\xd8one"]
TRUTHS = [True, False]


def save(path: Path, value: object, protocol: int) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("images", ["bytes", "arrays"])
@pytest.mark.parametrize("truths", ["list", "numpy list", "array", "tuple"])
def test_all_spellings_read_alike(tmp_path: Path, protocol: int, images: str, truths: str) -> None:
    first: list[Any] = list(IMAGES)
    if images == "arrays":
        first = [np.frombuffer(image, dtype=np.uint8).copy() for image in IMAGES]
    second: Any = {
        "list": TRUTHS,
        "numpy list": [np.bool_(truth) for truth in TRUTHS],
        "array": np.array(TRUTHS),
        "tuple": tuple(TRUTHS),
    }[truths]
    dataset = read_bin(save(tmp_path / "lfw.bin", (first, second), protocol))
    # The first and last image are one, and are kept once.
    assert [photo.content for photo in dataset.photos] == IMAGES[:3]
    assert [photo.image for photo in dataset.photos] == IMAGES[:3]
    assert [(p.a, p.b, p.same, p.fold) for p in dataset.pairs] == [
        (0, 1, True, 0),
        (2, 0, False, 5),
    ]
    assert dataset.people == ()
    assert len({photo.key for photo in dataset.photos}) == 3


def test_a_file_written_by_python_2(tmp_path: Path) -> None:
    # Python 2 strings (SHORT_BINSTRING) and protocol 2, as in the files insightface offers.
    strings = b"".join(b"U" + bytes([len(image)]) + image for image in IMAGES)
    data = b"\x80\x02]q\x00(" + strings + b"e]q\x01(\x88\x89e\x86q\x02."
    (tmp_path / "old.bin").write_bytes(data)
    dataset = read("bin", tmp_path / "old.bin")
    assert [photo.content for photo in dataset.photos] == IMAGES[:3]
    assert "people it does not name" in dataset.summary()


def test_folds_are_ten_contiguous_blocks(tmp_path: Path) -> None:
    images = [bytes([n % 250, n // 250 + 1]) for n in range(80)]
    path = save(tmp_path / "x.bin", (images, [n % 3 == 0 for n in range(40)]), 4)
    assert [pair.fold for pair in read_bin(path).pairs] == [n for n in range(10) for _ in range(4)]


def test_an_empty_image_is_left_out_with_its_pair(tmp_path: Path) -> None:
    dataset = read_bin(save(tmp_path / "x.bin", ([b"a", b"", b"b", b"c"], TRUTHS), 2))
    assert len(dataset.pairs) == 1
    assert dataset.pairs[0].fold == 5  # the file's fold, not that of what is left
    assert [item.why for item in dataset.left_out] == ["an empty image, and its pair"]


@pytest.mark.parametrize(
    "value",
    [
        (IMAGES, [True]),
        (IMAGES, [True, 2]),
        (IMAGES, None),
        IMAGES,
        {"images": IMAGES},
        ([1, 2], [True]),
        (["text", "text"], [True]),
        ([np.zeros((4, 4, 3), np.uint8)] * 2, [True]),
        ([np.zeros(4, np.float32)] * 2, [True]),
        ([np.array([b"a"], dtype=object)] * 2, [True]),
        ([b"a", b"b"], np.zeros((1, 1), np.bool_)),
        ([b"a", b"b"], np.array([1.0])),
        7,
    ],
)
def test_other_contents_are_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError):
        read_bin(save(tmp_path / "x.bin", value, 2))


class Evil:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.reduced = call, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["image", "truth", "whole"])
def test_nothing_in_the_file_is_executed(tmp_path: Path, protocol: int, place: str) -> None:
    witness = tmp_path / "witness"
    for evil in (
        Evil(os.system, f"touch {witness}"),
        Evil(eval, f"open({str(witness)!r}, 'w')"),
        Evil(os.mkdir, str(witness)),
        Evil(getattr, "text", "upper"),
        Evil(np.load, str(witness)),
        Evil(pickle.loads, b"."),
    ):
        value: Any = {
            "image": ([evil, b"b"], [True]),
            "truth": ([b"a", b"b"], [evil]),
            "whole": evil,
        }[place]
        with pytest.raises(InputError, match="refused"):
            read_bin(save(tmp_path / "x.bin", value, protocol))
        assert not witness.exists()


@pytest.mark.parametrize(
    "data",
    [
        # BUILD with a dictionary would set attributes of the reader's own stand-in.
        b"\x80\x02cnumpy\ndtype\n}U\x05_callU\x01xsb.",
        b"\x80\x02cnumpy\nndarray\n}U\x0c__setstate__U\x01xsb.",
        # A name inside a known module, and one reached by dots.
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__init__\x93.",
        # INST, OBJ, extension codes, persistent ids.
        b"(S'x'\nios\nsystem\n.",
        b"(cos\nsystem\nU\x01xo.",
        b"\x80\x02\x82\x01.",
        b"Pid\n.",
        b"\x80\x02U\x01xQ.",
        # A slot number that would make the reader allocate gigabytes.
        b"\x80\x02U\x01xr\xff\xff\xff\x7f.",
        # Arrays that lie about their size.
        b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02u1\x85RU\x02ab\x86R.",
        b"",
        b".",
        b"not a pickle",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f]",
    ],
)
def test_hostile_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(InputError):
        read_bin(tmp_path / "x.bin")
    # The reader is as it was.
    assert len(read_bin(save(tmp_path / "y.bin", (IMAGES, np.array(TRUTHS)), 2)).pairs) == 2


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    protocol=st.sampled_from([0, 2, 4, 5]),
    where=st.integers(0, 10_000),
    byte=st.integers(0, 255),
    cut=st.integers(0, 3),
)
def test_damaged_files_raise_one_kind_of_error(
    tmp_path: Path, protocol: int, where: int, byte: int, cut: int
) -> None:
    arrays = [np.frombuffer(image, dtype=np.uint8).copy() for image in IMAGES]
    data = bytearray(pickle.dumps((arrays, np.array(TRUTHS)), protocol=protocol))
    data[where % len(data)] = byte
    path = tmp_path / "x.bin"
    path.write_bytes(data[: len(data) - cut])
    try:
        dataset = read_bin(path)
    except FaceflowError:
        return
    assert all(isinstance(photo.content, bytes) for photo in dataset.photos)


def test_a_long_frame_is_no_trap(tmp_path: Path) -> None:
    data = b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x."
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(InputError):
        read_bin(tmp_path / "x.bin")


def test_keys_that_are_never_hashed_to_the_end_are_refused(tmp_path: Path) -> None:
    """Nested tuples, both halves the same: hashing the outermost takes 2 ** 60 steps."""
    nest = b"".join(b"(" + b"h\x00" * 2 + b"t" + b"q\x00" for _ in range(60))
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x80\x02})q\x00" + nest + b"Ns.")
    with pytest.raises(InputError, match="holds a dictionary"):
        read_bin(path)


def test_endless_steps_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x80\x02" + b"N0" * 1_500_000 + b"N.")
    with pytest.raises(InputError, match="more than 2,000,000 steps"):
        read_bin(path)


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    with pytest.raises(InputError, match="no file"):
        read_bin(tmp_path / "a.bin")
