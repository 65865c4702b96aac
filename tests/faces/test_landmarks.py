from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.faces.landmarks import GROUPS, PUBLISHED_WEIGHTS, five_from_68, landmark_share


def test_the_nine_groups_hold_72_entries_of_68_points() -> None:
    sizes = {name: len(points) for name, points in GROUPS.items()}
    assert sum(sizes.values()) == 72
    assert sorted({p for points in GROUPS.values() for p in points}) == list(range(68))
    assert set(np.flatnonzero(PUBLISHED_WEIGHTS == 2)) == {48, 54, 60, 64}
    # Chin and lips dominate, eyes are light.
    assert sizes["chin"] + sizes["upper lip"] + sizes["lower lip"] == 41
    assert sizes["left eye"] == sizes["right eye"] == 6


def test_five_from_68_by_hand() -> None:
    points = np.arange(136, dtype=float).reshape(68, 2) + 0.75  # point n is (2n, 2n + 1) + 0.75
    five = five_from_68(points)
    np.testing.assert_allclose(five[0], [2 * 38.5 + 0.75, 2 * 38.5 + 1.75])
    np.testing.assert_allclose(five[1], [2 * 44.5 + 0.75, 2 * 44.5 + 1.75])
    np.testing.assert_allclose(five[2:, 0], [60.75, 120.75, 128.75])
    np.testing.assert_array_equal(five_from_68(points, truncate=True), np.floor(five))
    np.testing.assert_array_equal(five_from_68(-points, truncate=True), -np.floor(five))
    for bad in (points[:67], np.full((68, 2), np.nan)):
        with pytest.raises(InputError, match="68, 2"):
            five_from_68(bad)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.floats(-200, 400), st.floats(-200, 400)), max_size=20),
    st.sampled_from([(1, 1), (8, 8), (7, 6), (3, 3)]),
)
def test_shares_are_counts_per_cell(
    places: list[tuple[float, float]], grid: tuple[int, int]
) -> None:
    points = np.array(places, dtype=float).reshape(-1, 2)
    share = landmark_share(points, (112, 96), grid)
    counts = np.zeros(grid)
    for x, y in places:
        row, column = np.floor(y * grid[0] / 112), np.floor(x * grid[1] / 96)
        if 0 <= row < grid[0] and 0 <= column < grid[1]:
            counts[int(row), int(column)] += 1
    np.testing.assert_allclose(share, counts.ravel() / max(counts.sum(), 1), atol=1e-7)


def test_weights_of_points_count() -> None:
    points = np.array([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]])
    share = landmark_share(points, (10, 10), (2, 2), weights=np.array([1.0, 2.0, 0.0]))
    np.testing.assert_allclose(share, [1 / 3, 2 / 3, 0, 0])
    assert not landmark_share(points + 50, (10, 10), (2, 2)).any()


@pytest.mark.parametrize(
    ("points", "weights"),
    [
        (np.zeros((3, 3)), None),
        (np.zeros((3, 2)), np.ones(2)),
        (np.full((3, 2), np.nan), None),
        (np.zeros((3, 2)), np.array([1.0, -1.0, 1.0])),
    ],
)
def test_bad_landmarks_are_refused(points: np.ndarray, weights: np.ndarray | None) -> None:
    with pytest.raises(InputError):
        landmark_share(points, (10, 10), (2, 2), weights=weights)
