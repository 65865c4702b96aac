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


def test_a_dictionary_in_itself(torch_files: SimpleNamespace) -> None:
    code = b"\x80\x02}q\0X\5\0\0\0modelh\0s."
    for content in formats(torch_files, code):
        with pytest.raises(WeightsError, match="holds no state dict"):
            read_checkpoint(content)


def test_deep_nesting(torch_files: SimpleNamespace) -> None:
    deep = 20_000
    for content in formats(torch_files, b"\x80\x02" + b"]" * deep + b"a" * (deep - 1) + b"."):
        with pytest.raises(WeightsError, match="holds no state dict"):
            read_checkpoint(content)


def test_too_many_instructions(
    torch_files: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceflow.weights.pickles.MAX_INSTRUCTIONS", 1000)
    with pytest.raises(WeightsError, match="more than 1,000 pickle instructions"):
        read_checkpoint(torch_files.zip(b"\x80\x02" + b"}" * 2000 + b"."))
