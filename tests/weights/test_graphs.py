"""Building ONNX graphs and opening them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from onnx import helper

from faceflow.errors import InputError, WeightsError
from faceflow.weights.graphs import require_shapes, serialise
from faceflow.weights.session import open_session, physical_cores


def plus_one() -> bytes:
    return serialise(
        "plus",
        [helper.make_node("Add", ["x", "one"], ["y"])],
        inputs={"x": ["N", 2]},
        outputs={"y": ["N", 2]},
        tensors={"one": np.array([1.0, 1.0], np.float64), "unused": np.array([3], np.int32)},
    )


def test_graph_runs_with_any_batch() -> None:
    session = open_session(plus_one(), threads=1)
    for n in (0, 1, 5):
        (found,) = session.run(None, {"x": np.zeros((n, 2), np.float32)})
        np.testing.assert_array_equal(found, np.ones((n, 2), np.float32))


def test_same_tensors_same_bytes() -> None:
    assert plus_one() == plus_one()


def test_shapes_that_fit() -> None:
    require_shapes({"a": np.zeros((2, 3))}, {"a": (2, 3)}, model="toy")


def test_shapes_that_do_not_fit() -> None:
    tensors = {"b": np.zeros((2, 3)), "x": np.zeros(7), "y": np.zeros(())}
    expected = {"a": (1,), "b": (3, 2)} | {f"m{i}": (i,) for i in range(5)}
    with pytest.raises(WeightsError) as caught:
        require_shapes(tensors, expected, model="toy")
    assert str(caught.value).split(". ")[:2] == [
        "these tensors are not those of toy",
        "6 missing: a (1,), m0 (0,), m1 (1,), ...; 2 unexpected: x (7,), y (); "
        "1 of another shape: b (2, 3) instead of (3, 2)",
    ]


def test_session_refuses_nonsense() -> None:
    with pytest.raises(WeightsError, match="faceflow models pull toy --force"):
        open_session(b"not a graph", name="toy")
    with pytest.raises(InputError, match="threads is 0"):
        open_session(plus_one(), threads=0)


def test_physical_cores() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)
