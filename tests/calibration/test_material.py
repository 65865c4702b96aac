"""Photos, the same photograph among the enrolled, and who is searched for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_people import identity, portrait, write_people
from faceflow.calibration import calibrate
from faceflow.calibration.leaks import Leaks, find_leaks
from faceflow.calibration.material import Material, check_covers, gather, surroundings
from faceflow.calibration.searches import among_themselves, in_gallery, photographs
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo
from faceflow.faces.images import content_hash, load_image
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.thumbnail import thumbnail
from faceflow.occlusion import occlude

Make = Callable[..., FaceFeatures]


@pytest.fixture
def make_gallery(tmp_path: Path, random_features: Make) -> Callable[..., Gallery]:
    """A gallery of (person, photo) with made-up features and true hashes."""

    def make(faces: list[tuple[str, Path]]) -> Gallery:
        digest = features_digest("00")
        features = random_features(len(faces), grid=(2, 2), channels=4, size=8, digest=digest)
        gallery = Gallery.create(
            tmp_path / "people.faceflow",
            network_name="example",
            digest="00",
            embedding_size=8,
            grid=(2, 2),
            channels=4,
        )
        gallery.enroll(
            Enrolment(who, str(path), content_hash(path), features[n], crop=load_image(path))
            for n, (who, path) in enumerate(faces)
        )
        return gallery

    return make


@pytest.fixture
def drawn(tmp_path: Path) -> list[Photo]:
    paths = write_people(tmp_path / "photos", people=3, photos_each=2, size=128)
    return [Photo(path, path.parent.name, f"photos/{path.stem}") for path in paths]


def pictures(photos: list[Photo]) -> dict[str, bytes]:
    return {photo.source_id: thumbnail(load_image(photo.path)) for photo in photos}


def test_an_enrolled_photo_is_recognised_in_any_form(drawn, make_gallery, tmp_path) -> None:
    """The file itself, a recompressed copy, and one whose photo is gone."""
    ada, alba, bruno = drawn[0], drawn[2], drawn[4]
    copy = tmp_path / "copy.jpg"
    Image.open(alba.path).save(copy, quality=60)
    gone = tmp_path / "gone.jpg"
    Image.open(bruno.path).save(gone, quality=60)
    faces = [(ada.person, ada.path), (alba.person, copy), (bruno.person, gone)]
    with make_gallery(faces) as gallery:
        gone.unlink()
        leaks = find_leaks(drawn, pictures(drawn), gallery)
    met = {(a, b) for a, b in leaks.links if b.startswith("enrolled")}
    assert met == {
        (ada.source_id, "enrolled face 1"),
        (alba.source_id, "enrolled face 2"),
        (bruno.source_id, "enrolled face 3"),
    }
    assert (leaks.compared, leaks.by_picture, leaks.by_hash) == (2, 1, 0)
    assert not leaks.misfiled
    assert not leaks.repeated


def test_a_photograph_under_two_names_is_refused(drawn, make_gallery) -> None:
    with make_gallery([("Somebody else", drawn[0].path)]) as gallery:
        leaks = find_leaks(drawn, pictures(drawn), gallery)
    assert leaks.misfiled == {drawn[0].source_id}


def test_repeats_count_once(drawn, tmp_path) -> None:
    again = tmp_path / "again.jpg"
    Image.open(drawn[0].path).save(again, quality=70)
    photos = [*drawn, Photo(again, drawn[0].person, "photos/again")]
    assert find_leaks(photos, pictures(photos)).repeated == {"photos/again"}


def made(people: dict[str, int], strata: tuple[str, ...], features: Make) -> Material:
    photos = tuple(
        Photo(Path(f"{who}-{n}.jpg"), who, f"{who}/{n}", stratum)
        for who, count in people.items()
        for n in range(count)
        for stratum in strata
    )
    return Material(photos, features(len(photos), grid=(2, 2), channels=4, size=8), {}, (), {})


def test_a_gallery_made_of_the_photos(random_features) -> None:
    people = {f"p{n}": 3 for n in range(8)} | {"single": 1}
    material = made(people, ("clean", "mask"), random_features)
    leaks = Leaks(repeated=frozenset({"p0/1", "p0/2"}), misfiled=frozenset({"p1/0"}))
    searches = among_themselves(material, leaks, ("mask",), seed=3)
    enrolled = {photo.person for photo in searches.gallery}
    assert len(searches.gallery) == len(enrolled) == 5  # of nine: half rounded down stays out
    assert not enrolled & {"single", "p0"}
    assert {photo.condition for photo in searches.gallery} == {"clean"}
    assert {photo.condition for photo in searches.queries} == {"mask"}
    sources = {photo.source_id for photo in searches.queries}
    assert not sources & {photo.source_id for photo in searches.gallery}
    assert not sources & {"p0/1", "p0/2", "p1/0"}
    protocol = searches.protocol(leaks)
    assert [p.person in enrolled for p in searches.queries] == protocol.mated.tolist()
    for photo, features in zip(searches.queries, searches.query_features, strict=True):
        row = material.photos.index(photo)
        np.testing.assert_array_equal(features.embedding, material.features[row].embedding)


def test_people_with_one_photo_make_no_gallery(random_features) -> None:
    material = made({"a": 1, "b": 1, "c": 2}, ("clean",), random_features)
    with pytest.raises(InputError, match="1 of 3 people have two"):
        among_themselves(material, Leaks(), ("clean",))


def test_the_only_enrolled_photo_is_not_searched_for(drawn, make_gallery, random_features) -> None:
    """Nor does it become a stranger's; another photo of the same person is searched for."""
    ada, other, *rest = drawn
    material = Material(
        tuple(Photo(p.path, p.person, p.source_id, "clean") for p in drawn),
        random_features(6, grid=(2, 2), channels=4, size=8),
        pictures(drawn),
        (),
        {},
    )
    with make_gallery([(ada.person, ada.path)]) as gallery:
        leaks = find_leaks(drawn, material.pictures, gallery)
        searches = in_gallery(material, leaks, gallery, ("clean",))
        kept = searches.without_the_enrolled(leaks)
        assert [photo.path for photo in kept.queries] == [p.path for p in (other, *rest)]
        assert kept.protocol(leaks).mated.tolist() == [True, False, False, False, False]
        assert photographs(kept.queries, kept.protocol(leaks).mated) == 1
        np.testing.assert_array_equal(
            searches.gallery_features.embedding, gallery.features([1]).embedding
        )


def test_surroundings_hold_the_face_and_move_the_landmarks() -> None:
    shot = portrait(identity(1), 0, size=128)
    wide = np.zeros((300, 500, 3), np.uint8)
    wide[100:228, 200:328] = shot.image
    landmarks = shot.landmarks + np.array([200, 100])
    low, high = landmarks.min(axis=0) - 10, landmarks.max(axis=0) + 10
    part, moved = surroundings(wide, np.array([*low, *high]), landmarks)
    assert part.shape[0] < 300
    assert part.shape[1] < 500
    shift = landmarks[0] - moved[0]
    np.testing.assert_allclose(landmarks - shift, moved)
    x, y = moved[2].round().astype(int)
    np.testing.assert_array_equal(part[y, x], wide[y + int(shift[1]), x + int(shift[0])])


def test_a_drawn_cover_goes_through_detection_anew(analyzer, tmp_path) -> None:
    """With the real networks: what is searched for is what analyzing the covered photo gives."""
    (path,) = write_people(tmp_path, people=1, photos_each=1, size=128)
    photo = Photo(path, "Ada", "ada")
    torn = Photo(tmp_path / "none.jpg", "Bo", "bo")
    material = gather([photo, torn], analyzer, covers=["clean", "mask", "blur-3"], real={}, seed=4)
    assert [(p.person, p.condition) for p in material.photos] == [
        ("Ada", "clean"),
        ("Ada", "mask"),
        ("Ada", "blur-3"),
    ]
    assert [item.path.name for item in material.left_out] == ["none.jpg"]
    (face,) = analyzer.analyze(path, select="largest")
    part, landmarks = surroundings(load_image(path), face.box, face.landmarks)
    (masked,) = analyzer.analyze(occlude("mask", part, landmarks, 4).image, select="largest")
    cosine = (material.features.embedding @ masked.features.embedding.T).ravel()
    assert cosine[1] == pytest.approx(1, abs=1e-4)
    assert max(cosine[0], cosine[2]) < 0.98
    assert material.pictures == {"ada": thumbnail(face.crop)}


@pytest.mark.parametrize(
    ("covers", "others", "message"),
    [
        (["beard"], [], "no cover called 'beard'"),
        (["mask", "mask"], [], "name of its own"),
        (["mask"], ["mask"], "name of its own"),
        ([], [], "there must be one"),
    ],
)
def test_unusable_strata_are_refused(covers, others, message) -> None:
    with pytest.raises(InputError, match=message):
        check_covers(covers, others)


@pytest.mark.parametrize("fpir", [0, 1, -0.1, float("nan")])
def test_impossible_rates_are_refused(tmp_path, fpir) -> None:
    with pytest.raises(InputError, match="target FPIR"):
        calibrate(tmp_path, fpir=fpir)
