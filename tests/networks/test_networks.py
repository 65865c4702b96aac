"""The known networks: their specifications and how they are found."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from faceflow import networks
from faceflow.alignment import TEMPLATES
from faceflow.errors import InputError, WeightsError
from faceflow.networks import trained
from faceflow.weighting import WEIGHTINGS
from faceflow.weights import TrainedHere, WheelFile


def test_default_network_comes_first() -> None:
    assert networks.available()[0].name == networks.DEFAULT == "lightcnn-v4"


@pytest.mark.parametrize("spec", networks.available(), ids=lambda spec: spec.name)
def test_specifications_fit_the_rest(spec: networks.NetworkSpec) -> None:
    assert networks.spec(spec.name) == spec
    assert TEMPLATES[spec.template].size == spec.input_size
    assert len(spec.mean) == len(spec.std) == (1 if spec.colour == "gray" else 3)
    assert spec.defaults.weighting in WEIGHTINGS
    assert 0 <= spec.defaults.alpha <= 1
    if isinstance(spec.source, WheelFile):
        assert len(spec.source.wheel_sha256) == len(spec.source.member_sha256) == 64
    else:
        assert spec.source.where, "users must know where to get it"
    for text in (spec.licence.code, spec.licence.weights, spec.licence.training_data):
        assert text


def test_licence_is_stated_as_it_is() -> None:
    licence = networks.spec("lightcnn-v4").licence
    assert "no licence file" in licence.weights
    assert "research" in licence.training_data


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match="choose one of lightcnn-v4"):
        networks.spec("lightcnn-v5")
    with pytest.raises(InputError, match="choose one of lightcnn-v4"):
        networks.load_network("../lightcnn-v4")


def test_defaults_for() -> None:
    assert networks.defaults_for("lightcnn-v4") == networks.spec("lightcnn-v4").defaults
    assert networks.defaults_for("my own").weighting == "uniform"


def test_not_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="run `faceflow models pull lightcnn-v4`"):
        networks.load_network()


def test_digest_follows_what_changes_features() -> None:
    spec = networks.spec("lightcnn-v4")
    same = [
        replace(spec, name="x"),
        replace(spec, title="x"),
        replace(spec, defaults=networks.MatchDefaults(1.0, "apc", 5)),
        replace(spec, source=replace(spec.source, version="9", wheel_sha256="0")),
    ]
    other = [
        replace(spec, source=replace(spec.source, member_sha256="0")),
        replace(spec, colour="bgr"),
        replace(spec, mean=(1.0, 0.0, 0.0)),
        replace(spec, std=(128.0, 128.0, 128.0)),
        replace(spec, input_size=(112, 112)),
        replace(spec, template="arcface-112"),
        replace(spec, grid=(4, 4)),
    ]
    assert {s.digest for s in same} == {spec.digest}
    assert len({s.digest for s in [spec, *other]}) == len(other) + 1
    assert len(spec.digest) == 64


def test_digest_of_the_default_network_never_changes_by_accident() -> None:
    """Every gallery records it: changing it makes all of them unusable."""
    assert networks.spec("lightcnn-v4").digest.startswith("c529af2bae1d")


def test_networks_that_share_weights_differ_in_digest() -> None:
    specs = [networks.spec(name) for name in ("facenet", "facenet-paper")]
    specs += [networks.spec(name) for name in ("arcface", "arcface-layer3")]
    known = [replace(s, source=replace(s.source, tensors_sha256="1" * 64)) for s in specs]
    assert len({spec.digest for spec in known}) == 4
    assert [spec.model_name for spec in known] == ["facenet", "facenet", "arcface", "arcface"]
    changed = replace(known[0], source=replace(known[0].source, tensors_sha256="2" * 64))
    assert changed.digest != known[0].digest


def test_no_digest_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="models import arcface FILE"):
        _ = networks.spec("arcface-layer3").digest
    with pytest.raises(WeightsError, match="models pull facenet"):
        networks.load_network("facenet-paper")


def test_trained_networks_kept_under_former_names_are_read() -> None:
    spec = replace(
        networks.spec(networks.DEFAULT), source=TrainedHere("0" * 64, 1, networks.DEFAULT, "")
    )
    former = dataclasses.asdict(spec)
    former["defaults"]["visible"] = former["defaults"].pop("visible_share")
    former["defaults"]["weighting"] = "visible"
    assert trained._read(former) == trained._read(dataclasses.asdict(spec)) == spec
    assert spec.defaults.weighting == "uncovered"
