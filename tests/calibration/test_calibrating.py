"""The whole of calibrate() with a stand-in for detector and network, which are quick to ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from faceflow.analyzer import Face
from faceflow.arrays import UInt8
from faceflow.calibration import calibrate, calibrating
from faceflow.calibration.searches import collect_evidence
from faceflow.errors import FaceflowError, InputError, NoFaceError
from faceflow.faces.images import content_hash, load_image
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.matching import covers
from faceflow.matching.identification import identify
from faceflow.networks import MatchDefaults

SIDE = 64


class Reader:
    """Reads person and photo off the first pixel; features follow, a little off for each photo."""

    network = SimpleNamespace(spec=SimpleNamespace(name="example", teacher=""), digest="00")
    detector_name = "centerface"

    def analyze(self, source: Any, **_: Any) -> list[Face]:
        image = load_image(source)
        person, photo, unseen = (int(v) for v in image[0, 0])
        if unseen:
            raise NoFaceError("No face was found")
        rng = np.random.default_rng([person, photo, int(image.sum())])
        common = np.random.default_rng(person)
        features = FaceFeatures.from_maps(
            common.standard_normal((1, 16)) + 0.2 * rng.standard_normal((1, 16)),
            common.standard_normal((1, 4, 2, 2)) + 0.5 * rng.standard_normal((1, 4, 2, 2)),
            digest=features_digest("00"),
        )
        box = np.array([0.0, 0.0, SIDE, SIDE])
        landmarks = np.array([[22.0, 26], [42, 26], [32, 38], [24, 50], [40, 50]])
        return [Face(box, landmarks, 0.9, image, features, "detected")]

    def analyze_many(
        self, images: Iterable[UInt8], **_: Any
    ) -> Iterator[tuple[UInt8, list[Face] | FaceflowError]]:
        for image in images:
            try:
                yield image, self.analyze(image)
            except FaceflowError as error:
                yield image, error


@pytest.fixture
def reader() -> Any:
    return Reader()


def write(folder: Path, people: Iterable[int], photos: Iterable[int]) -> None:
    """Unlike pictures: PERSON/PHOTO.png with both numbers in the first pixel."""
    for person in people:
        for photo in photos:
            noise = np.random.default_rng([person, photo]).integers(0, 256, (8, 8, 3))
            picture = cv2.resize(noise.astype(np.uint8), (SIDE, SIDE))
            picture[0, 0] = person, photo, 0
            path = folder / f"p{person:02d}" / f"{photo}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)


@pytest.fixture
def gallery(tmp_path: Path, reader: Reader) -> Iterator[Gallery]:
    """People 0 to 11 with photo 0."""
    write(tmp_path / "enrolled", range(12), [0])
    with Gallery.create(
        tmp_path / "people.faceflow",
        network_name="example",
        digest="00",
        embedding_size=16,
        grid=(2, 2),
        channels=4,
    ) as opened:
        opened.require_network = lambda network: None  # type: ignore[method-assign]
        opened.enroll(
            Enrolment(
                path.parent.name, str(path), content_hash(path), reader.analyze(path)[0].features
            )
            for path in sorted((tmp_path / "enrolled").rglob("*.png"))
        )
        yield opened


def test_with_a_gallery(tmp_path: Path, reader: Reader, gallery: Gallery) -> None:
    write(tmp_path / "photos", range(24), [0, 1])  # photo 0 of 12 people is enrolled
    write(tmp_path / "masked", range(6, 18), [7])
    for path in sorted((tmp_path / "photos").rglob("*.png")):
        spoilt = load_image(path).copy()
        spoilt[34:] = 0
        copy = tmp_path / "copies" / path.parent.name / f"{path.stem}_cut.png"
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(spoilt).save(copy)
    told: list[tuple[int, int, str]] = []
    result = calibrate(
        tmp_path / "photos",
        gallery,
        analyzer=reader,  # type: ignore[arg-type]
        fpir=0.2,
        covers=("clean", "blob"),
        real={"masked": tmp_path / "masked"},
        edited={"cut": tmp_path / "copies"},
        progress=lambda *step: told.append(step),
    )
    clean, blob, masked, cut = result.strata
    assert [s.name for s in result.strata] == ["clean", "blob", "masked", "cut"]
    assert (clean.rates.mated, clean.rates.nonmated) == (12, 24)
    assert blob.rates.mated + blob.rates.nonmated + blob.unseen == 36
    assert (masked.rates.mated, masked.rates.nonmated) == (6, 6)
    # Copies of enrolled photos are kept from them, and count as no other photograph.
    assert (cut.rates.mated, cut.rates.nonmated) == (12, 24)
    origin = result.origin
    assert origin.unconfirmed == 0
    assert (origin.enrolled_faces, origin.people, origin.impostors) == (12, 24, 12)
    assert (origin.photographs, origin.impostor_photographs) == (12 + 24 + 12, 24 + 6)
    assert origin.enrolled_already == 12
    assert origin.excluded >= 12
    assert clean.rates.tpir.estimate == 1
    assert gallery.calibration == result.calibration
    assert {what for _, _, what in told} == {"photos", "searches"}
    for what in ("photos", "searches"):
        done, total = [step[:2] for step in told if step[2] == what][-1]
        assert done == total


def test_without_a_gallery(tmp_path: Path, reader: Reader) -> None:
    write(tmp_path / "photos", range(30), [0, 1])
    options: dict[str, Any] = {"analyzer": reader, "covers": ("clean",), "weightings": ["uniform"]}
    result = calibrate(tmp_path / "photos", fpir=0.2, **options)
    origin = result.origin
    assert origin.temporary
    assert (origin.enrolled_people, origin.enrolled_faces, origin.impostors) == (15, 15, 15)
    assert (result.overall.mated, result.overall.nonmated) == (15, 30)
    again = calibrate(tmp_path / "photos", fpir=0.2, **options)
    assert again.calibration == result.calibration
    assert again.strata == result.strata
    with pytest.raises(InputError, match="60 are needed"):
        calibrate(tmp_path / "photos", fpir=0.05, **options)
    bare = calibrate(tmp_path / "photos", fpir=None, **options)
    assert bare.threshold is None
    assert bare.overall.fpir is None


def test_projected_patches_are_tried_where_their_model_is_known(
    tmp_path: Path,
    reader: Reader,
    gallery: Gallery,
    make_patch_model: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is read off for each setting is what identify answers with that setting."""
    write(tmp_path / "photos", range(24), [1])
    kept = []

    def spy(searches: Any, *args: Any, **options: Any) -> Any:
        kept.append((searches, collect_evidence(searches, *args, **options)))
        return kept[-1][1]

    model = make_patch_model(16)
    monkeypatch.setattr(calibrating, "collect_evidence", spy)
    monkeypatch.setattr(covers, "load", lambda *_: model)
    defaults = MatchDefaults(0.2, "uncovered", 9, "projected", 0.5)
    monkeypatch.setattr(calibrating, "defaults_for", lambda _: defaults)
    options: dict[str, Any] = {"analyzer": reader, "covers": ("clean",), "fpir": None}
    result = calibrate(
        tmp_path / "photos", gallery, weightings=["apc"], alphas=(0.4,), ks=(5,), **options
    )
    ((searches, evidence),) = kept
    assert [str(setting) for setting in evidence.settings] == [
        "stage 1 alone",
        "alpha 0.4, apc, k 5",
        "alpha 0.4, uncovered, k 5, projected patches",
        "alpha 0.4, uncovered, k 5, projected patches, visible share 0.5",
    ]
    for n, setting in enumerate(evidence.settings):
        answers = identify(searches.query_features, gallery, gallery.options(**asdict(setting)))
        first = [max(answer.faces, key=lambda face: face.score) for answer in answers]
        np.testing.assert_allclose(evidence.top[n], [face.score for face in first], atol=1e-6)
        right = [f.person == q.person for f, q in zip(first, searches.queries, strict=True)]
        assert evidence.hit[n].tolist() == right
    assert not np.allclose(evidence.top[2], evidence.top[3])
    assert gallery.settings["match"] == asdict(result.setting) | {"dtype": "int8"}

    monkeypatch.setattr(covers, "load", lambda *_: None)
    calibrate(tmp_path / "photos", gallery, **options)
    assert {setting.patches for setting in kept[-1][1].settings} == {"raw"}
    with pytest.raises(InputError, match="need a patch model"):
        calibrate(tmp_path / "photos", gallery, weightings=["uncovered"], **options)


def test_nothing_is_kept_when_told_so(tmp_path: Path, reader: Reader, gallery: Gallery) -> None:
    write(tmp_path / "photos", range(12), [1])
    options: dict[str, Any] = {"analyzer": reader, "covers": ("clean",), "save": False}
    calibrate(tmp_path / "photos", gallery, fpir=None, **options)
    assert "match" not in gallery.settings
    with pytest.raises(InputError, match="0 photographs of people who are not enrolled"):
        calibrate(tmp_path / "photos", gallery, **options)


def test_faces_lost_under_a_cover_are_counted_apart(
    tmp_path: Path, reader: Reader, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "photos", range(12), [1])
    monkeypatch.setattr(
        Reader, "analyze_many", lambda *_, **__: iter([(None, NoFaceError("No face was found"))])
    )
    result = calibrate(
        tmp_path / "photos",
        gallery,
        analyzer=reader,  # type: ignore[arg-type]
        fpir=None,
        covers=("clean", "blob"),
    )
    clean, blob = result.strata
    assert (clean.rates.mated, blob.rates.mated, blob.unseen) == (12, 0, 12)
    assert blob.rates.tpir is None
    assert blob.own is None


def test_nothing_to_search_for_or_in_is_told(
    tmp_path: Path, reader: Reader, gallery: Gallery
) -> None:
    options: dict[str, Any] = {"analyzer": reader, "covers": ("clean",), "fpir": None}
    with pytest.raises(InputError, match="the only one enrolled"):
        calibrate(tmp_path / "enrolled", gallery, **options)
    write(tmp_path / "photos", range(9), [1])
    with pytest.raises(InputError, match="9 people with another enrolled photo"):
        calibrate(tmp_path / "photos", gallery, **options)
    for person in gallery.people():
        gallery.remove_person(person.name)
    with pytest.raises(InputError, match="the gallery is empty"):
        calibrate(tmp_path / "photos", gallery, **options)
    with pytest.raises(InputError, match="no folder"):
        calibrate(tmp_path / "none", gallery, **options)
