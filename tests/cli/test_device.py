"""--device: taken by whatever runs networks, told where it was chosen, refused where it is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from faceflow.cli import loading
from faceflow.cli.options import Here
from faceflow.errors import DeviceError
from faceflow.weights import devices, pytorch

MISSING = DeviceError("The device cuda cannot be used", why="there is no GPU", todo="use cpu")


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    monkeypatch.setattr(devices, "why_no_cuda", lambda device="cuda": MISSING)
    monkeypatch.setattr(pytorch, "why_not", lambda device: MISSING)


def test_a_device_that_is_not_there(
    run: Any, drawn: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = drawn / "queries"
    for command in (
        ("identify", photos, "-g", gallery),
        ("enroll", photos, "-g", tmp_path / "new.faceflow"),
        ("verify", *sorted(photos.iterdir())[:2]),
        ("occlude", photos, tmp_path / "out", "--cover", "mask"),
        ("demo", "--output", tmp_path / "demo"),
        ("covers", "learn", photos),
        ("calibrate", photos, "-g", gallery),
    ):
        ran = run(*command, "--device", "cuda", code=8)
        assert "The device cuda cannot be used. There is no GPU. Use cpu." in " ".join(
            ran.err.split()
        ), command
    monkeypatch.setenv(devices.VARIABLE, "cuda")
    assert "cannot be used" in run("identify", photos, "-g", gallery, code=8).err
    assert run("identify", photos, "-g", gallery, "--device", "cpu", "--json").lines


def test_a_device_that_nothing_is_called(run: Any, drawn: Path, gallery: Path) -> None:
    ran = run("identify", drawn / "queries", "-g", gallery, "--device", "gpu", code=2)
    assert "cpu, cuda, cuda:NUMBER, mps, auto" in " ".join(ran.err.split())


def test_auto_says_what_it_took(run: Any, drawn: Path, gallery: Path) -> None:
    ran = run("identify", drawn / "queries", "-g", gallery, "--device", "auto", "--json")
    assert "device auto: cpu, because there is no GPU" in " ".join(ran.err.split())
    assert ran.lines[0]["ranked_by"] in ("native", "numpy")


def test_what_is_chosen_reaches_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "why_not", lambda device: None)
    here = dataclasses.replace(Here(), device="cuda:1")
    assert loading.chosen_device(here) == "cuda:1"
    with loading.open_identifier(None, here) as faces:
        assert faces._device == "cuda:1"
    assert loading.load_analyzer(here=here).network.device == "cuda:1"
