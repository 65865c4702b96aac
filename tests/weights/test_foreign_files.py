"""Checkpoints from strangers: a regular file of a sane size, read in a child with limits."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from faceflow.errors import UnsafeCheckpointError, WeightsError
from faceflow.system.child import Limits
from faceflow.weights import read_checkpoint, read_state_dict, state_dicts


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_the_child_gives_what_the_reader_gives(
    torch_files: SimpleNamespace, tmp_path: Path, kind: str
) -> None:
    storage = torch_files.Storage("0", "float32", np.arange(30, dtype=np.float32).tobytes())
    half = np.array([1.0, -2.5], np.float32).view(np.uint32) >> 16
    state = {
        "z": torch_files.Tensor(storage, (5, 6), (1, 5)),
        "scalar": torch_files.Tensor(storage, (), (), offset=29),
        "empty": torch_files.Tensor(storage, (0, 4), (4, 1), offset=30),
        "expanded": torch_files.Tensor(storage, (9,), (0,), offset=3),
        "flags": torch_files.tensor(np.array([True, False]), "1"),
        "count": torch_files.tensor(np.array(2**40, np.int64), "2"),
        "brain": torch_files.Tensor(
            torch_files.Storage("3", "bfloat16", half.astype("<u2").tobytes()), (2,), (1,)
        ),
    }
    content = getattr(torch_files, kind)(state)
    path = tmp_path / "own.pth"
    path.write_bytes(content)
    here, there = read_checkpoint(content), read_state_dict(path)
    assert list(here) == list(there)
    for name, array in here.items():
        assert there[name].dtype == array.dtype
        assert there[name].shape == array.shape
        assert np.array_equal(there[name], array)


def test_refusals_come_through(torch_files: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "evil.pth"
    path.write_bytes(torch_files.zip(b"\x80\x04cos\nsystem\n."))
    with pytest.raises(UnsafeCheckpointError, match=r"evil\.pth was refused .* os\.system"):
        read_state_dict(path)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices in the file system")
@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/null", "folder", "x" * 300, "gone"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    began = time.monotonic()
    with pytest.raises(WeightsError, match="cannot be read"):
        read_state_dict(tmp_path / name)
    assert time.monotonic() - began < 2


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(state_dicts.MAX_BYTES + 1)  # takes no room on the disk
    with pytest.raises(WeightsError, match=r"too large.* at most 1\.1 GB"):
        read_state_dict(path)


@pytest.mark.skipif(os.name != "posix", reason="the kernel's limits")
def test_a_reader_that_goes_wrong_costs_an_error(
    torch_files: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With limits that any file exceeds, as a file would that found the next bug."""
    path = tmp_path / "own.pth"
    path.write_bytes(torch_files.zip({"a": torch_files.tensor(np.ones(2**20, np.float32), "0")}))
    monkeypatch.setattr(state_dicts, "limits_for", lambda size: Limits(memory=size // 2))
    with pytest.raises(WeightsError, match=r"own\.pth was given up. .* of memory"):
        read_state_dict(path)
    monkeypatch.setattr(state_dicts, "limits_for", lambda _: Limits(seconds=0.01))
    with pytest.raises(WeightsError, match=r"own\.pth was given up. .*0\.01 seconds"):
        read_state_dict(path)


def test_the_limits_leave_room_for_a_whole_network(tmp_path: Path) -> None:
    """A file of one large tensor, every byte of which is copied as often as any is."""
    large = {"w": np.arange(50 * 2**20, dtype=np.uint8)}
    path = tmp_path / "large.safetensors"
    safetensors.numpy.save_file(large, path)
    assert np.array_equal(read_state_dict(path)["w"], large["w"])


def test_names_in_safetensors_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"a\x1b[2J": np.ones(1)}, path)
    with pytest.raises(WeightsError, match="no name of a tensor"):
        read_state_dict(path)
