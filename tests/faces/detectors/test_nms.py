"""Suppression against the plain loop, and its corner cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.faces.detectors import nms
from faceflow.faces.detectors.nms import suppress


def slow(boxes: np.ndarray, scores: np.ndarray, threshold: float, overlap: str, edge: float):
    """One pair at a time, in plain Python."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda n: -scores[n]):
        for j in kept:
            w = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0]) + edge
            h = min(boxes[i][3], boxes[j][3]) - max(boxes[i][1], boxes[j][1]) + edge
            shared = max(w, 0) * max(h, 0)
            areas = [
                (boxes[n][2] - boxes[n][0] + edge) * (boxes[n][3] - boxes[n][1] + edge)
                for n in (i, j)
            ]
            whole = min(areas) if overlap == "smaller" else sum(areas) - shared
            if whole > 0 and shared / whole > threshold:
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize("overlap", ["union", "smaller"])
@pytest.mark.parametrize("edge", [0.0, 1.0])
@given(
    n=st.integers(0, 40),
    threshold=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_plain_loop(
    overlap: nms.Overlap, edge: float, n: int, threshold: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (n, 2))
    boxes = np.hstack([corner, corner + rng.integers(0, 20, (n, 2))]).astype(float)
    scores = rng.integers(0, 5, n) / 5  # many equal ones
    kept = suppress(boxes, scores, threshold, overlap=overlap, edge=edge)
    assert kept.tolist() == slow(boxes, scores, threshold, overlap, edge)


def test_many_boxes_go_row_by_row_with_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 300, (300, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 60, (300, 2))])
    scores = rng.uniform(size=300)
    by_table = suppress(boxes, scores, 0.3)
    monkeypatch.setattr(nms, "_TABLE", 10)
    np.testing.assert_array_equal(suppress(boxes, scores, 0.3), by_table)


def test_a_small_box_inside_a_large_one() -> None:
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60]], float)
    scores = np.array([0.6, 0.9])
    assert suppress(boxes, scores, 0.7).tolist() == [1, 0]
    assert suppress(boxes, scores, 0.7, overlap="smaller").tolist() == [1]


def test_boxes_without_area_do_not_divide_by_zero() -> None:
    boxes = np.zeros((3, 4))
    assert suppress(boxes, np.array([0.1, 0.3, 0.2]), 0.5).tolist() == [1, 2, 0]
    assert suppress(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
