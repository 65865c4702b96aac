"""Every model by name, networks and detectors alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceflow import models
from faceflow.errors import InputError, WeightsError
from faceflow.networks import FaceNetwork
from faceflow.weights import Status


def test_names_are_unique_and_safe() -> None:
    names = [model.name for model in models.available()]
    assert len(set(names)) == len(names)
    assert {"lightcnn-v4", "mtcnn"} <= set(names)
    for name in names:
        assert Path(name).name == name, "a model's name is a folder's name"


def test_unknown_name_lists_the_known() -> None:
    for call in (models.find, models.pull, models.path, models.verify):
        with pytest.raises(InputError, match=r"choose one of lightcnn-v4, .*, mtcnn"):
            call("../elsewhere")


def test_a_network_leads_to_the_model_it_uses() -> None:
    assert models.find("arcface-layer3").name == "arcface"
    assert models.find("facenet-paper").name == "facenet"


def test_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    assert {state.status for state in models.states()} == {Status.MISSING}
    assert models.path("mtcnn") == tmp_path / "models" / "mtcnn"
    with pytest.raises(WeightsError, match="does not exist"):
        models.pull("mtcnn", from_file=tmp_path / "no.whl")


def test_pulled_network_verifies(default_network: FaceNetwork) -> None:
    state = models.verify(default_network.spec.name)
    assert state.status is Status.READY
    assert state.size > 40_000_000
    assert models.pull(default_network.spec.name) == state.path, "ready is left alone"
