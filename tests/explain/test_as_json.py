from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from faceflow.explain import Explanation, to_json
from faceflow.features import Grid
from faceflow.matching.transport import Status

Make = Callable[..., Explanation]


@pytest.mark.parametrize("grid", [(16, 16), (8, 8), (7, 6), (3, 3), (1, 1)])
@pytest.mark.parametrize("weighting", ["uniform", "apc", "sc"])
def test_sums_survive_the_rounding(explained: Make, grid: Grid, weighting: str) -> None:
    e = explained(grid, weighting=weighting)
    answer = to_json(e)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    for side in ("query", "gallery"):
        assert sum(answer[side]["contributions"]) == pytest.approx(answer["emd"], abs=1e-9)
        assert sum(answer[side]["weights"]) == pytest.approx(1, abs=1e-9)
    assert answer["emd"] == pytest.approx(e.emd, abs=1e-12)
    assert sum(answer["parts"].values()) == pytest.approx(answer["score"], abs=1e-11)
    flow, cosines = np.array(answer["flow"]), np.array(answer["cosines"])
    assert flow.shape == cosines.shape == e.flow.shape
    assert (flow * cosines).sum() == pytest.approx(e.emd, abs=1e-4)
    assert flow == pytest.approx(e.flow, abs=1e-9)


def test_keys_are_the_documented_ones(explained: Make) -> None:
    answer = to_json(explained((7, 6), weighting="uniform"))
    assert answer["schema"] == "faceflow.explanation/2"
    assert answer["grid"] == [7, 6]
    assert answer["status"] == "converged"
    assert answer["solver"]["epsilon"] == 0.05
    documented = to_json.__doc__ or ""
    for key in [*answer, *answer["query"]]:
        assert key in documented
    assert answer["query"]["best_match"] == [
        int(np.argmax(row)) for row in np.array(answer["flow"])
    ]


def test_matrices_can_be_left_out(explained: Make) -> None:
    full, short = to_json(explained()), to_json(explained(), matrices=False)
    assert full.keys() - short.keys() == {"flow", "cosines"}
    assert len(json.dumps(to_json(explained((8, 8))))) < 100_000


def test_nothing_moves(explained: Make) -> None:
    answer = to_json(explained(flow=np.zeros((16, 16)), status=Status.NO_MASS))
    assert answer["status"] == "no_mass"
    assert answer["query"]["best_match"] == [-1] * 16
    json.dumps(answer, allow_nan=False)
