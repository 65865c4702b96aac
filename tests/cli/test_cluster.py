"""The cluster commands as far as they need no Ray; tests/cluster has the rest."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from faceflow.cluster import joining
from faceflow.cluster.plan import Demand, plan
from faceflow.errors import FaceflowError, InputError


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What joining sets in the environment ends with the test."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


def test_plan_says_what_the_library_computes(run) -> None:
    told = run("cluster", "plan", "--faces", "100M", "--qps", "100", "--json").json
    found = plan(Demand(1e8, 100))
    assert (told["machines"], told["shards"]) == (found.machines, found.shards)
    lines = run("cluster", "plan", "--faces", "100M").out
    assert f"{found.machines} (decided by CPU)" in lines
    assert "1.2 TB" in lines


def test_plan_refuses_what_is_no_number(run) -> None:
    assert "is no number" in run("cluster", "plan", "--faces", "lots", code=2).err
    assert "too many" in run("cluster", "plan", "--faces", "1B", "--qps", "1e7", code=2).err


@pytest.mark.parametrize("command", ["start", "status", "drain"])
def test_without_a_gallery(run, command: str, tmp_path: Path) -> None:
    told = run("cluster", command, "--gallery", tmp_path / "none.faceflow", code=5)
    assert "no gallery" in told.err


@pytest.mark.parametrize("address", ["somewhere", "ray://head:10001"])
def test_an_address_that_is_none(run, drawn: Path, gallery: Path, address: str) -> None:
    told = run("cluster", "status", "--gallery", gallery, "--cluster", address, code=2)
    assert "not the address" in told.err


def test_nobody_listens(run, gallery: Path, free_port: int, monkeypatch: Any) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    address = f"127.0.0.1:{free_port}"
    for words in (["cluster", "drain"], ["identify", __file__], ["enroll", __file__]):
        told = run(*words, "--gallery", gallery, "--cluster", address, code=1)
        assert f"Nobody answers at {address}" in told.err


def test_a_cluster_that_asks_for_no_token_is_not_joined(
    run, gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    told = run("cluster", "status", "--gallery", gallery, "--cluster", "head:6379", code=2)
    assert "RAY_AUTH_MODE is 'disabled'" in told.err


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="Ray's clusters are not for Windows")
def test_the_token_is_for_its_owner_alone(home: Path) -> None:
    joining._keep_token(make=True)
    path = home / ".ray" / "auth_token"
    first = path.read_text()
    assert len(first) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["auth_token"]
    # As Ray would have written it.
    path.chmod(0o644)
    joining._keep_token(make=True)
    assert path.read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_token_no_cluster_of_others(home: Path) -> None:
    with pytest.raises(FaceflowError, match="has no token"):
        joining._keep_token(make=False)
    assert not (home / ".ray").exists()


def test_ray_imported_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "ray", object())
    with pytest.raises(InputError, match="imported before"):
        joining._prepare("auto")


def test_ray_missing_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FaceflowError, match=r"faceflow\[ray\]"):
        joining.ray_module()
