from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from faceflow.errors import FaceflowError, GalleryMismatchError, InputError
from faceflow.features import (
    DEFAULT_DETECTOR,
    FaceFeatures,
    answers_for,
    describe_digest,
    features_digest,
    network_digest,
    require_comparable,
    require_same_digest,
)

KNOWN = features_digest("a" * 64)

Make = Callable[..., FaceFeatures]


def test_patches_are_row_major_and_give_the_map_back() -> None:
    maps = np.random.default_rng(0).standard_normal((2, 5, 3, 4))
    features = FaceFeatures.from_maps(np.ones((2, 6)), maps)
    assert features.grid == (3, 4)
    np.testing.assert_allclose(features.raw_patches[1, 1 * 4 + 2], maps[1, :, 1, 2], rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(features.patches, axis=2), 1, atol=1e-6)
    mean = maps.mean(axis=(2, 3))
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(features.pooled, expected, atol=1e-6)


def test_regrid_averages_the_raw_map() -> None:
    maps = np.random.default_rng(1).standard_normal((3, 5, 8, 8))
    features = FaceFeatures.from_maps(np.ones((3, 6)), maps)
    coarse = features.regrid((4, 4))
    expected = maps.reshape(3, 5, 4, 2, 4, 2).mean(axis=(3, 5)).reshape(3, 5, 16)
    np.testing.assert_allclose(coarse.raw_patches.transpose(0, 2, 1), expected, atol=1e-5)
    np.testing.assert_array_equal(coarse.pooled, features.pooled)
    assert features.regrid((8, 8)) is features
    with pytest.raises(InputError, match="cannot be pooled"):
        features.regrid((3, 3))


def test_indexing_keeps_the_face_axis_and_concatenate_undoes_it(random_features: Make) -> None:
    features = random_features(5)
    assert len(features[2]) == 1
    assert len(features[[0, 4]]) == 2
    again = FaceFeatures.concatenate(list(features))
    np.testing.assert_array_equal(again.patches, features.patches)
    with pytest.raises(InputError, match="differ"):
        FaceFeatures.concatenate([features, random_features(1, grid=(4, 4))])
    with pytest.raises(InputError, match="empty"):
        FaceFeatures.concatenate([])


def test_zero_patches_stay_zero() -> None:
    features = FaceFeatures.from_maps(np.ones((1, 2)), np.zeros((1, 3, 2, 2)))
    assert not features.patches.any()
    assert not features.pooled.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_refused_where_it_enters(bad: float) -> None:
    maps = np.ones((1, 3, 2, 2))
    with pytest.raises(InputError, match="embedding holds NaN or infinity"):
        FaceFeatures.from_maps(np.array([[1.0, bad]]), maps)
    maps[0, 1, 1, 0] = bad
    with pytest.raises(InputError, match="NaN or infinity"):
        FaceFeatures.from_maps(np.ones((1, 2)), maps)


def test_wrong_shapes_are_named(random_features: Make) -> None:
    f = random_features(2)
    with pytest.raises(InputError, match="patches has shape"):
        FaceFeatures(f.embedding, f.patches[:, :3], f.norms, f.pooled, f.grid)
    with pytest.raises(InputError, match="N, C, h, w"):
        FaceFeatures.from_maps(np.ones((1, 2)), np.ones((1, 3)))


def test_an_error_reads_as_plain_sentences() -> None:
    error = FaceflowError("The gallery is damaged", why="page 3 is torn", todo="restore a copy.")
    assert str(error) == "The gallery is damaged. page 3 is torn. restore a copy."


def test_the_digest_stays_with_the_faces() -> None:
    faces = FaceFeatures.from_maps(np.ones((3, 6)), np.ones((3, 5, 4, 4)), digest=KNOWN)
    again = FaceFeatures.concatenate([faces[0], faces[1:]])
    share = np.zeros((3, 16), np.float32)
    for same in (again, faces.regrid((2, 2)), faces.with_landmarks(share), faces[[2, 0]]):
        assert same.digest == KNOWN
    assert faces.as_from(None).digest is None
    assert faces.as_from(None).as_from(KNOWN).digest == KNOWN


def test_features_of_different_origin_are_not_stacked() -> None:
    faces = FaceFeatures.from_maps(np.ones((1, 6)), np.ones((1, 5, 4, 4)), digest=KNOWN)
    other = faces.as_from(features_digest("b" * 64))
    with pytest.raises(GalleryMismatchError, match=r"network aaaaaaaaaaaa.*network bbbbbbbbbbbb"):
        FaceFeatures.concatenate([faces, other])
    with pytest.raises(GalleryMismatchError, match=r"unknown origin.*as_from\(digest\)"):
        FaceFeatures.concatenate([faces, faces.as_from(None)])
    assert len(FaceFeatures.concatenate([faces.as_from(None)] * 2)) == 2


def test_a_digest_tells_networks_and_detectors_apart() -> None:
    ways = [("a",), ("b",), ("a", "fan-2d"), ("a", "fan-3d"), ("a", "mtcnn")]
    digests = {features_digest(*way) for way in ways}
    assert len(digests) == len(ways)
    assert features_digest("a") == features_digest("a", DEFAULT_DETECTOR)
    assert {network_digest(one) for one in digests} == {"a", "b"}
    with pytest.raises(GalleryMismatchError, match=r"centerface; other: .*by fan-2d"):
        require_same_digest(features_digest("a"), features_digest("a", "fan-2d"), ("one", "other"))


def test_a_students_features_are_asked_of_its_teachers_and_never_the_other_way_round() -> None:
    teacher = features_digest("aa" * 32)
    student = features_digest("bb" * 32, teacher="aa" * 32)
    assert student == f"{'bb' * 32}>{'aa' * 32}+centerface"
    assert (network_digest(student), network_digest(teacher)) == ("bb" * 32, "aa" * 32)
    assert (answers_for(student), answers_for(teacher), answers_for(None)) == (teacher, None, None)
    assert describe_digest(student) == (
        "network bbbbbbbbbbbb, a student of aaaaaaaaaaaa, aligned by centerface"
    )
    require_comparable(student, teacher)
    for same in (student, teacher, None):
        require_comparable(same, same)
    other_detector = features_digest("bb" * 32, "mtcnn", teacher="aa" * 32)
    other_student = features_digest("cc" * 32, teacher="aa" * 32)
    for query, gallery in (
        (teacher, student),
        (other_detector, teacher),
        (other_student, student),
        (student, None),
        (None, teacher),
        (features_digest("bb" * 32, teacher="dd" * 32), teacher),
    ):
        with pytest.raises(GalleryMismatchError):
            require_comparable(query, gallery)
