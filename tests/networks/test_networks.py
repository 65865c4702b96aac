"""The known networks: their specifications and how they are found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest

from faceflow import models, networks
from faceflow.errors import InputError, WeightsError
from faceflow.faces.alignment import TEMPLATES
from faceflow.matching import covers
from faceflow.matching.weighting import WEIGHTINGS
from faceflow.weights import OnnxFile, TrainedHere, WheelFile


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


def _record(name: str, folder: Path, **source: object) -> None:
    """A network of a user's as it lies in the cache, its graph left out."""
    values = asdict(replace(networks.spec("lightcnn-v4"), name=name)) | {"source": source}
    manifest = {"record": {"kind": "trained", "spec": values}}
    (folder / "models" / name).mkdir(parents=True)
    (folder / "models" / name / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def opened() -> list[str]:
    """Every file that Python opens from now on; an audit hook cannot be taken away again."""
    seen: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str):
            seen.append(arguments[0])

    sys.addaudithook(hook)
    return seen


def test_asking_for_one_network_opens_no_other(
    opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every query somebody asks for a network; that must not read the whole cache."""
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    for name in ("one", "two", "three"):
        _record(name, tmp_path, member_sha256="1" * 64, size=9, upstream="x", patches="")

    for name in ("arcface", "facenet"):  # as if their checkpoints had been imported
        (tmp_path / "models" / name).mkdir()
        source = networks.spec(name).source
        kept = json.dumps({"sources": {source.member: "1" * 64}})
        (tmp_path / "models" / name / "manifest.json").write_text(kept)

    def opens(call: Callable[[], object]) -> list[str]:
        """The models whose files the call opened or tried to."""
        opened.clear()
        with suppress(WeightsError):  # there are no graphs
            call()
        return [path.parent.name for path in map(Path, opened) if path.is_relative_to(tmp_path)]

    for asked in (networks.spec, networks.find, networks.defaults_for):
        assert opens(partial(asked, "lightcnn-v4")) == []
        assert opens(partial(asked, "two")) == ["two"]
    assert opens(partial(networks.spec, "arcface-layer3")) == ["arcface"]
    assert opens(partial(networks.defaults_for, "arcface-layer3")) == []
    for asked in (networks.last_layer, networks.load_network, models.find):
        assert set(opens(partial(asked, "two"))) == {"two"}
        assert set(opens(partial(asked, "facenet-paper"))) == {"facenet"}
    assert opens(partial(covers.load, "lightcnn-v4", "0" * 64)) == []
    assert {"one", "two", "three"} <= set(opens(networks.available)), "the test can count"


@pytest.mark.parametrize("name", ["../one", "one/../one", ".", "..", "", "One", "one\x00"])
def test_no_name_leads_out_of_the_cache(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    _record("one", tmp_path, member_sha256="1" * 64, size=9, upstream="x", patches="")
    assert networks.find("one") is not None
    assert networks.find(name) is None
    with pytest.raises(InputError, match="there is no network"):
        networks.spec(name)


def test_records_of_earlier_releases_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gallery made with a network trained before must still find it, under the same digest."""
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path))
    folder = tmp_path / "models"
    for name in ("masked", "mobile"):
        kept = (Path(__file__).parent / f"record-{name}.json").read_bytes()
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").write_bytes(kept)
    trained, imported = networks.spec("masked"), networks.spec("mobile")
    assert isinstance(trained.source, TrainedHere)
    assert trained.digest == "ce89462a41ffcc9961f08447f65f0d5e9c73278770271b0d08bfdac51b3a8cba"
    assert isinstance(imported.source, OnnxFile)
    assert imported.digest == "afb8b1c6aaea9e2c29ec69af5f2ffaa41c13415449e5a39209115fe640860a80"
    assert networks.available()[-2:] == (trained, imported)
