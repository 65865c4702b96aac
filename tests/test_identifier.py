"""The everyday object: what it opens, makes, answers, explains and refuses."""

from __future__ import annotations

import doctest
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

import faceflow
from faceflow import Identifier
from faceflow.analyzer import FaceAnalyzer
from faceflow.demo import PEOPLE, QUERIES
from faceflow.errors import (
    FaceflowError,
    GalleryError,
    GalleryMismatchError,
    ImageError,
    InputError,
    NoFaceError,
    WeightsError,
)
from faceflow.faces.images import load_image

ADA, MASKED = PEOPLE / "Ada" / "Ada_0001.jpg", QUERIES / "Ada-mask.jpg"


@pytest.fixture(scope="module")
def kept(analyzer: FaceAnalyzer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of the first three people."""
    root = tmp_path_factory.mktemp("identifier")
    for name in ("Ada", "Alba", "Bruno"):
        shutil.copytree(PEOPLE / name, root / "PHOTOS" / name)
    path = root / "people.faceflow"
    with Identifier(path, network=analyzer.network, detector=analyzer.detector) as people:
        assert people.people == []
        report = people.enroll(root / "PHOTOS")
        assert (report.photos, report.added, report.skipped) == (6, 6, ())
    return path


@pytest.fixture
def path(kept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(kept, tmp_path / "people.faceflow"))


@pytest.fixture
def loaded(analyzer: FaceAnalyzer) -> dict[str, Any]:
    """The session's network and detector, so that no test loads its own."""
    return {"network": analyzer.network, "detector": analyzer.detector}


@pytest.fixture
def people(path: Path, loaded: dict[str, Any]) -> Iterator[Identifier]:
    with Identifier(path, **loaded) as identifier:
        yield identifier


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    Image.new("RGB", (200, 160), (90, 140, 220)).save(tmp_path / "sky.png")
    return tmp_path / "sky.png"


def test_every_face_of_a_photo_is_answered(people: Identifier, tmp_path: Path) -> None:
    halves = [load_image(PEOPLE / name / f"{name}_0002.jpg") for name in ("Ada", "Bruno")]
    faces = people.identify(np.concatenate(halves, axis=1))
    assert {face.person for face in faces} == {"Ada", "Bruno"}
    for face in faces:
        assert face.status == "ranked"
        assert face.threshold is None
        assert face.box.shape == (4,)
        assert face.confidence is not None
        assert 0 < face.confidence <= 1
        assert [match.rank for match in face.people] == [1, 2, 3]
        assert face.people[0].person in str(face)
        assert "ranked" in repr(face)


def test_the_answers_are_those_of_identify(
    people: Identifier, path: Path, analyzer: FaceAnalyzer
) -> None:
    """The object adds nothing to the scores: the functions below it give the same ones."""
    (face,) = people.identify(MASKED)
    with faceflow.Gallery.open(path, readonly=True) as gallery:
        features = analyzer.analyze(MASKED)[0].features
        (same,) = faceflow.identify(features, gallery)
    assert [(m.person, m.score) for m in face.people] == [(m.person, m.score) for m in same.people]


def test_any_kind_of_photo_gives_the_same_answer(people: Identifier) -> None:
    kinds = [MASKED, str(MASKED), MASKED.read_bytes(), Image.open(MASKED), load_image(MASKED)]
    scores = [people.identify(photo)[0].people[0].score for photo in kinds]
    assert len(set(scores)) == 1


def test_many_photos_one_of_which_fails(people: Identifier, sky: Path, tmp_path: Path) -> None:
    photos = [MASKED, sky, tmp_path / "none.jpg", ADA]
    answers = dict(people.identify_many(iter(photos)))
    assert list(answers) == photos
    assert isinstance(answers[sky], NoFaceError)
    assert isinstance(answers[tmp_path / "none.jpg"], ImageError)
    found = answers[ADA]
    assert not isinstance(found, FaceflowError)
    assert found[0].person == "Ada"
    with pytest.raises(NoFaceError, match=r"sky\.png"):
        people.identify(sky)
    (whole,) = people.identify(sky, whole_image="fallback")
    assert whole.confidence is None


def test_thresholds_and_options_of_the_object_and_of_a_call(
    path: Path, loaded: dict[str, Any]
) -> None:
    with Identifier(path, threshold=0.99, **loaded) as people:
        (face,) = people.identify(MASKED)
        assert (face.status, face.person, face.people[0].person) == ("unknown", None, "Ada")
        (face,) = people.identify(MASKED, threshold=0.1)
        assert (face.status, face.person, face.threshold) == ("identified", "Ada", 0.1)
        cosine_only = people.options(alpha=0.0)
        best = people.identify(MASKED, options=cosine_only)[0].people[0]
        assert best.score == best.cosine
        assert best.score != face.people[0].score
        two = people.identify(MASKED, best_faces=2)[0].people[0]
        assert two.faces == 2
        with pytest.raises(InputError, match="alfa"):
            people.options(alfa=1)
    with Identifier(path, options=cosine_only, **loaded) as people:
        assert people.options() is cosine_only
        assert people.options(k=7).k == 7
        assert people.options(k=7).alpha == 0
        assert people.identify(MASKED)[0].people[0].score == best.score


def test_a_face_explains_itself_as_its_ending_says(people: Identifier, tmp_path: Path) -> None:
    (face,) = people.identify(MASKED)
    why = face.explain(top=2)
    assert why.rows[0].explanation.score == pytest.approx(face.people[0].score, abs=1e-3)
    html = why.save(tmp_path / "new" / "why.html").read_text("utf-8")
    assert "Ada-mask.jpg" in html
    assert html.count("<article") == 2
    with Image.open(why.save(str(tmp_path / "why.PNG"))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 300
    assert why.picture(lines=True).height > why.picture().height
    told = json.loads(why.save(tmp_path / "why.json").read_text())
    assert [match["person"] for match in told["matches"]] == [m.person for m in face.people[:2]]
    assert sum(told["matches"][0]["parts"].values()) == pytest.approx(
        face.people[0].score, abs=1e-3
    )
    for wrong in ("why.pdf", "why"):
        with pytest.raises(InputError, match=r"html, \.png or \.json"):
            why.save(tmp_path / wrong)
        assert not (tmp_path / wrong).exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        why.save(tmp_path / "file" / "why.html")
    with pytest.raises(InputError):
        face.explain(top=0)


def test_two_photos_are_compared(people: Identifier, tmp_path: Path) -> None:
    same = people.verify(MASKED, ADA, threshold=0.4)
    other = people.verify(MASKED, PEOPLE / "Bruno" / "Bruno_0001.jpg", threshold=0.4)
    assert (same.same, other.same) == (True, False)
    assert same.score > other.score
    assert str(same).startswith("Ada-mask.jpg and Ada_0001.jpg: 0.")
    assert "same person" in str(same)
    assert people.verify(MASKED, ADA).same is None
    why = same.explain()
    assert why.rows[0].explanation.score == pytest.approx(same.score, abs=1e-3)
    assert "The same person: " in why.save(tmp_path / "why.html").read_text("utf-8")


def test_enrolling_again_one_by_one_and_removing(
    people: Identifier, sky: Path, tmp_path: Path
) -> None:
    assert people.enroll(PEOPLE / "Celia", person="Celia").added == 2
    assert people.enroll(PEOPLE / "Celia", person="Celia").duplicates == 2
    assert people.enroll(load_image(PEOPLE / "Dario" / "Dario_0001.jpg"), person="Dario").added == 1
    photos = sorted((PEOPLE / "Dario").iterdir())
    assert people.enroll(photos, person="Dario").added == 2
    assert {info.name: info.faces for info in people.people} == {
        "Ada": 2,
        "Alba": 2,
        "Bruno": 2,
        "Celia": 2,
        "Dario": 3,
    }
    assert people.remove("Dario").faces == 3
    with pytest.raises(GalleryError, match="Dario"):
        people.remove("Dario")
    # A single photo is never left out silently; of several, the report says which were.
    with pytest.raises(NoFaceError):
        people.enroll(sky, person="Sky")
    with pytest.raises(NoFaceError):
        people.enroll(Image.open(sky), person="Sky")
    (skip,) = people.enroll([sky, ADA], person="Ada").skipped
    assert skip.path == sky
    with pytest.raises(InputError, match="person"):
        people.enroll(load_image(ADA))


def test_an_empty_gallery_is_a_status(tmp_path: Path, loaded: dict[str, Any]) -> None:
    path = tmp_path / "new.faceflow"
    with Identifier(path, **loaded) as people:
        people.enroll(ADA, person="Ada")
        people.remove("Ada")
        (face,) = people.identify(MASKED)
        assert (face.status, face.person, face.people) == ("empty", None, ())
        with pytest.raises(InputError, match="no match"):
            face.explain().save(tmp_path / "why.png")


def test_a_gallery_is_made_by_enrolling_and_by_nothing_else(
    tmp_path: Path, loaded: dict[str, Any]
) -> None:
    path = tmp_path / "typo.faceflow"
    with Identifier(path, **loaded) as people:
        assert "nobody enrolled" in repr(people)
        with pytest.raises(GalleryError, match="There is no gallery"):
            people.identify(MASKED)
        with pytest.raises(GalleryError, match="There is no gallery"):
            list(people.identify_many([MASKED]))
        with pytest.raises(InputError):
            people.enroll(tmp_path / "nowhere")
    assert not path.exists()
    with pytest.raises(GalleryError):
        Identifier(path, readonly=True)
    for wrong in ({"network": "vgg"}, {"detector": "eyes"}, {"best_faces": 0}):
        with pytest.raises(InputError):
            Identifier(path, **wrong)  # type: ignore[arg-type]


def test_a_gallery_that_was_made_meanwhile_is_found(
    kept: Path, tmp_path: Path, loaded: dict[str, Any]
) -> None:
    with Identifier(tmp_path / "people.faceflow", **loaded) as people:
        assert people.people == []
        shutil.copy(kept, tmp_path / "people.faceflow")
        assert len(people.people) == 3
        assert people.identify(MASKED)[0].person == "Ada"


def test_weights_are_fetched_at_first_use_and_said(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from faceflow import models

    pulled: list[str] = []
    monkeypatch.setattr(models, "pull", lambda name, **_: pulled.append(name))
    monkeypatch.setenv("FACEFLOW_CACHE", str(path.parent / "empty"))
    with Identifier(path) as people, pytest.raises(WeightsError):
        people.identify(MASKED)
    with faceflow.Gallery.open(path, readonly=True) as gallery:
        assert pulled == [gallery.header.network_name, gallery.header.alignment]
    assert len(caplog.messages) == 2
    assert "licence" in caplog.messages[0].lower()


def test_opening_loads_no_network(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing and removing people works where no weights are."""
    monkeypatch.setenv("FACEFLOW_CACHE", str(path.parent / "empty"))
    monkeypatch.setenv("FACEFLOW_OFFLINE", "1")
    with Identifier(path) as people:
        assert [info.name for info in people.people] == ["Ada", "Alba", "Bruno"]
        people.remove("Bruno")
        with pytest.raises(WeightsError, match="offline"):
            people.identify(MASKED)


def test_the_gallery_says_which_network_and_detector_it_needs(path: Path) -> None:
    with Identifier(path, threads=1, offline=True) as people:
        assert people.options().solver.threads == 1  # type: ignore[attr-defined]
        assert people.identify(MASKED)[0].person == "Ada"
        assert people.analyzer is people.analyzer
        assert people.analyzer.alignment == people.gallery.header.alignment


def test_what_was_made_for_another_network_or_detector_is_refused(path: Path) -> None:
    with pytest.raises(GalleryMismatchError, match="aligned"):
        Identifier(path, detector="fan-2d")
    with pytest.raises(InputError, match="no network"):
        Identifier(path, network="vgg")
    with pytest.raises(InputError, match="detector"):
        Identifier(path, detector="eyes")
    # The refused object let go of the file: nothing of SQLite's is left beside it.
    assert list(path.parent.glob("people.faceflow*")) == [path]


def test_after_closing(path: Path, loaded: dict[str, Any]) -> None:
    with Identifier(path, **loaded) as people:
        (face,) = people.identify(MASKED)
    people.close()
    for ask in (
        lambda: people.identify(MASKED),
        lambda: people.people,
        lambda: people.enroll(ADA, person="Ada"),
        face.explain,
    ):
        with pytest.raises(GalleryError, match="was closed"):
            ask()


def test_several_threads_share_one_object(people: Identifier) -> None:
    found: list[float] = []
    threads = [
        Thread(target=lambda: found.append(people.identify(MASKED)[0].people[0].score))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


@pytest.mark.parametrize("module", ["identifier", "analyzer", "reports"])
def test_the_examples_of_the_modules_run(module: str, analyzer: FaceAnalyzer) -> None:
    result = doctest.testmod(importlib.import_module(f"faceflow.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
