"""A checkpoint that asks for more than tensors is refused, and nothing in it runs."""

from __future__ import annotations

import os
import pickle
import time
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceflow.errors import UnsafeCheckpointError, WeightsError
from faceflow.weights import read_checkpoint


class Touch:
    """Pickles to a call that leaves a file behind when anything runs it."""

    def __init__(self, path: Path) -> None:
        self.command = f"touch '{path}'"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


class Evaluate(Touch):
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"__import__('os').system({self.command!r})",)


class WithState:
    """Pickles to an object whose attributes are set by BUILD."""


def formats(torch_files: SimpleNamespace, pickled: bytes) -> list[bytes]:
    return [torch_files.zip(pickled), torch_files.legacy(pickled)]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("attack", [Touch, Evaluate])
def test_calls_are_refused_by_name(
    torch_files: SimpleNamespace, tmp_path: Path, attack: type[Touch], protocol: int
) -> None:
    mark = tmp_path / "executed"
    evil = attack(mark)
    name = r"(posix|nt)\.system" if attack is Touch else r"(__builtin__|builtins)\.eval"
    for value in (evil, {"state_dict": {"a": evil}}, OrderedDict(a=1, b=[evil])):
        pickled = pickle.dumps(value, protocol)
        for content in formats(torch_files, pickled):
            # Protocols 0 and 1 use instructions PyTorch never writes; those may be met first.
            expected = name if protocol >= 2 else f"{name}|pickle instruction"
            with pytest.raises(UnsafeCheckpointError, match=expected):
                read_checkpoint(content)
    assert not mark.exists()
    pickle.loads(pickle.dumps(evil, protocol))
    assert mark.exists(), "the attack must be one that works on an ordinary reader"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"(X\1\0\0\0xios\nsystem\n", r"os\.system"),  # INST
        (b"(cos\nsystem\nX\1\0\0\0xo", r"os\.system"),  # OBJ
        (b"cos\nsystem\n)\x81", r"os\.system"),  # NEWOBJ
        (b"cos\nsystem\n)}\x92", r"os\.system"),  # NEWOBJ_EX
        (b"X\2\0\0\0osX\6\0\0\0system\x93", r"os\.system"),  # STACK_GLOBAL
        (b"cbuiltins\ngetattr\n", r"builtins\.getattr"),
        (b"ctorch\nload\n", r"torch\.load"),
        (b"ctorch.storage\n_load_from_bytes\n", r"torch\.storage\._load_from_bytes"),
        (b"ccollections\nOrderedDict.update\n", r"collections\.OrderedDict\.update"),
        (b"ccollections \nOrderedDict\n", r"collections \.OrderedDict"),
        (b"cfaceflow.weights.pickles\nread_pickle\n", r"faceflow\.weights\.pickles"),
        (rb"ctorch" + b"\n" + rb"Float\x53torage" + b"\n", r"torch\.Float\\x53torage"),
        (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
        (b"ctorch\nFloatStorage\n)R", "a call of a StorageType"),
        (b"K\1)R", "a call of a int"),
        (b"})R", "a call of a dict"),
        (b"}}b", "BUILD"),
        (b"](K\1e}b", "BUILD"),
        (b"ctorch\nFloatStorage\n}b", "BUILD"),
        (b"ccollections\nOrderedDict\n}b", "BUILD"),
        (b"ccollections\nOrderedDict\n)R](K\1eb", "BUILD"),
        (b"\x82\1", "EXT1"),
        (b"Pkey\n", "PERSID"),
        (b"\x8f", "EMPTY_SET"),
        (b"\x97", "NEXT_BUFFER"),
    ],
)
def test_instructions_are_refused(torch_files: SimpleNamespace, code: bytes, said: str) -> None:
    for content in formats(torch_files, b"\x80\x04" + code + b"."):
        with pytest.raises(UnsafeCheckpointError, match=said) as caught:
            read_checkpoint(content)
        assert "nothing in it was run" in str(caught.value)


def test_an_ordinary_object_is_refused(
    torch_files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WithState, "__module__", "collections")
    monkeypatch.setattr("collections.WithState", WithState, raising=False)
    evil = WithState()
    evil.x = 1  # type: ignore[attr-defined]
    with pytest.raises(UnsafeCheckpointError, match=r"collections\.WithState"):
        read_checkpoint(torch_files.zip(pickle.dumps({"a": evil}, 2)))


def test_numpy_arrays_are_refused_by_name(torch_files: SimpleNamespace) -> None:
    with pytest.raises(UnsafeCheckpointError, match=r"numpy\.\w+\.\w+"):
        read_checkpoint(torch_files.zip(pickle.dumps({"a": np.ones(2)}, 2)))


def test_refused_names_are_cut_short(torch_files: SimpleNamespace) -> None:
    pickled = b"\x80\x02c" + b"m" * 100_000 + b"\nx\n."
    with pytest.raises(UnsafeCheckpointError) as caught:
        read_checkpoint(torch_files.zip(pickled))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "code",
    [
        b"r\xff\xff\xff\xff",  # LONG_BINPUT without a value
        b"}r\xff\xff\xff\xff0",  # ... with one: Python's reader makes a table of 4 G entries
        b"j\xff\xff\xff\xff",  # LONG_BINGET
        b"X\xff\xff\xff\x7fx",  # text of 2 GB
        b"\x8d" + b"\xff" * 7 + b"\x7f",  # text of 8 EB
        b"\x8e" + b"\xff" * 7 + b"\x7f",  # bytes of 8 EB
        b"\x96" + b"\xff" * 7 + b"\x7f",  # byte array of 8 EB
        b"\x8b\xff\xff\xff\x7f",  # integer of 2 GB
        b"\x95" + b"\xff" * 8,  # frame of 16 EB
        b"I" + b"9" * 100_000 + b"\n",  # digits that take quadratic time
        b"t",
        b"e",
        b"u",
        b"R",
        b"Q",
        b"b",
        b"s",
        b"a",
        b"\x85",
        b"\x93",
        b"(",
        b"(K\1K\2",
        b"](K\1u",
        b"}(K\1u",
        b"}(}K\1u",
        b"})K\1s",
        b"K\1K\2",
        b"K\1K\2\x93",
        b"ctorch",  # a name without its end
        b"ccollections\nOrderedDict\nK\1R",  # arguments that are no tuple
        b"ccollections\nOrderedDict\nK\1\x85R",
        b"ccollections\nOrderedDict\n](K\1e\x85R",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        b"ctorch._utils\n_rebuild_parameter\n)R",
        b"ctorch._utils\n_rebuild_parameter\nK\1\x85R",
        b"K\1Q",
        b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0a)J\xff\xff\xff\xfftQ",
        b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0a)K\1K\7tQ",
        b"",
    ],
)
def test_claims_and_broken_stacks(torch_files: SimpleNamespace, code: bytes) -> None:
    began = time.process_time()
    for content in formats(torch_files, b"\x80\x04" + code + b"."):
        with pytest.raises(WeightsError):
            read_checkpoint(content)
    assert time.process_time() - began < 1.0


def test_shared_references_do_not_multiply(torch_files: SimpleNamespace) -> None:
    """Sixty doublings: 2**60 elements for anyone who walks, copies, prints or hashes them."""
    layers = 60
    lists = b"]q\0" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(layers))
    tuples = b")q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(layers))
    began = time.process_time()
    for code in (b"(" + lists + b"t", b"(" + tuples + b"t"):
        for content in formats(torch_files, b"\x80\x02" + code + b"."):
            with pytest.raises(WeightsError, match="holds no state dict"):
                read_checkpoint(content)
    as_key = b"\x80\x02}(" + tuples + b"t" + b"K\1s."
    for content in formats(torch_files, as_key):
        with pytest.raises(WeightsError, match="as a dictionary key"):
            read_checkpoint(content)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (b"}q\0X\5\0\0\0modelh\0s.", "into itself"),
        (b"]q\0h\0a.", "into itself"),
        (b"](h\0e.", "never stored"),
        (b"]q\0\x85h\0K\1a.", "in use already"),
        (b"}q\0\x85h\0K\1K\2s.", "in use already"),
    ],
)
def test_a_container_in_itself(torch_files: SimpleNamespace, code: bytes, why: str) -> None:
    for content in formats(torch_files, b"\x80\x02" + code):
        with pytest.raises(WeightsError, match=why):
            read_checkpoint(content)


@pytest.mark.parametrize(
    "code",
    [
        b"]" * 300_000 + b"a" * 299_999,
        b")" + b"\x85" * 300_000,
        b"}K\0" * 300_000 + b"}" + b"s" * 300_000,
        b")" + b"\x85" * 100,
    ],
    ids=["lists", "tuples", "dictionaries", "one too deep"],
)
def test_deep_nesting(torch_files: SimpleNamespace, code: bytes) -> None:
    for content in formats(torch_files, b"\x80\x02" + code + b"."):
        with pytest.raises(WeightsError, match="nests more than 100"):
            read_checkpoint(content)


DOUBLED = b"()q\0" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60)) + b"t"
"""A tuple of 2**60 leaves for whoever walks, hashes or prints it."""


@pytest.mark.parametrize("key", [DOUBLED, b"]", b"}", b"K\1", b"N", b"C\1x"])
def test_a_storage_key_that_is_no_text(torch_files: SimpleNamespace, key: bytes) -> None:
    """In the list of storages, where a saved file has only text."""
    value = {"a": torch_files.tensor(np.ones(1, np.float32), "0")}
    names = b"](X\1\0\0\x000" + key + b"e"
    content = torch_files.legacy(value)
    own = torch_files.dumps(["0"])
    assert content.count(own) == 1
    began = time.process_time()
    with pytest.raises(WeightsError, match="list of storages is not one of names"):
        read_checkpoint(content.replace(own, b"\x80\x02" + names + b"."))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("place", ["magic", "system", "storage", "shape", "call", "name", "value"])
def test_no_place_in_a_file_walks_what_it_is_given(
    torch_files: SimpleNamespace, place: str
) -> None:
    code = {
        "magic": DOUBLED,
        "system": b"}X\r\0\0\0little_endian" + DOUBLED + b"s",
        "storage": b"(X\7\0\0\0storage" + DOUBLED + b"X\1\0\0\x000NK\1tQ",
        "shape": torch_files.named("torch._utils", "_rebuild_tensor_v2")
        + b"((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000NK\1tQK\0"
        + DOUBLED
        + b")tR",
        "call": DOUBLED + b")R",
        "name": DOUBLED + b"X\1\0\0\0x\x93",
        "value": b"}X\1\0\0\0a" + DOUBLED + b"s",
    }[place]
    pickled = b"\x80\x04" + code + b"."
    contents = formats(torch_files, pickled)
    if place in ("magic", "system"):
        head = torch_files.dumps(0x1950A86A20F9469CFC6C) + torch_files.dumps(1001)
        contents = [pickled if place == "magic" else head + pickled]
    began = time.process_time()
    for content in contents:
        with pytest.raises(WeightsError):
            read_checkpoint(content)
    assert time.process_time() - began < 1.0


def test_one_long_list_recalled_again_and_again(torch_files: SimpleNamespace) -> None:
    """Work that grows with the square of the file: 10^10 steps from 1 MB."""
    many = 100_000
    pairs = b"](" + b"]K\1aK\2a" * many + b"eq\0"
    ordered = b"ccollections\nOrderedDict\nq\1" + b"h\1h\0\x85R" * many
    stars = b"(" + b"N" * many + b"tq\0" + b"h\0Q" * many
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\nq\1" + b"h\1h\0R" * many
    for code in (pairs + ordered, stars, b"(" + b"N" * many + b"tq\0" + tensor):
        began = time.process_time()
        with pytest.raises(WeightsError):
            read_checkpoint(torch_files.zip(b"\x80\x02" + code + b"N."))
        assert time.process_time() - began < 10


def test_numbers_of_one_hash_are_no_keys(torch_files: SimpleNamespace) -> None:
    """Multiples of 2**61 - 1 all have the hash 0: a dictionary of them takes quadratic time."""
    prime = 2**61 - 1
    numbers = b"".join(
        b"\x8a\x0a" + (n * prime).to_bytes(10, "little") + b"N" for n in range(40_000)
    )
    began = time.process_time()
    with pytest.raises(WeightsError, match="more than 60 bits"):
        read_checkpoint(torch_files.zip(b"\x80\x02}(" + numbers + b"u."))
    with pytest.raises(WeightsError, match="uses a float as a dictionary key"):
        read_checkpoint(torch_files.zip(b"\x80\x02}G" + bytes(8) + b"Ns."))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "name",
    ["a\x1b[2J", "a\n", "\x9b31m", "x" * 501, "\u202e"],
    ids=["esc", "nl", "csi", "long", "rtl"],
)
def test_names_that_no_tensor_has(torch_files: SimpleNamespace, name: str) -> None:
    content = torch_files.zip({name: torch_files.tensor(np.ones(1, np.float32), "0")})
    with pytest.raises(WeightsError, match="no name of a tensor") as caught:
        read_checkpoint(content)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_a_name_of_a_lone_surrogate(torch_files: SimpleNamespace) -> None:
    values = torch_files.tensor(np.ones(1, np.float32), "0")
    code = torch_files.encode({"abc": values}).replace(b"abc", b"\xed\xa0\x80")
    with pytest.raises(WeightsError, match="no name of a tensor"):
        read_checkpoint(torch_files.zip(torch_files.Raw(code, [values.storage])))


def test_more_entries_than_any_network(
    torch_files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceflow.weights.checkpoint.MAX_ENTRIES", 2)
    values = torch_files.tensor(np.ones(1, np.float32), "0")
    with pytest.raises(WeightsError, match="3 entries, and at most 2"):
        read_checkpoint(torch_files.zip({"a": values, "b": values, "c": values}))


def test_an_empty_tensor_of_sizes_beyond_any(torch_files: SimpleNamespace) -> None:
    storage = torch_files.Storage("0", "float32", bytes(16))
    shape = (0, 2**47, 2**47)
    state = {"a": torch_files.Tensor(storage, shape, (1, 1, 1))}
    with pytest.raises(WeightsError, match="has the shape"):
        read_checkpoint(torch_files.zip(state))


def test_too_many_instructions(
    torch_files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceflow.weights.pickles.MAX_INSTRUCTIONS", 1000)
    with pytest.raises(WeightsError, match="more than 1,000 pickle instructions"):
        read_checkpoint(torch_files.zip(b"\x80\x02" + b"}" * 2000 + b"."))
