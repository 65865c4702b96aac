"""Transport against numbers computed once with the reference implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceflow.features import FaceFeatures
from faceflow.matching.transport import ExactEMD, Sinkhorn, Status, published_sinkhorn
from faceflow.matching.weighting import weigh

GRIDS = {9: (3, 3), 16: (4, 4), 42: (7, 6), 64: (8, 8)}
CASES = [(r, name) for r in GRIDS for name in ("uniform", "apc", "sc")]


@pytest.fixture(scope="module")
def values(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "transport.npz") as file:
        return dict(file)


def features(patches: np.ndarray, pooled: np.ndarray, r: int) -> FaceFeatures:
    n = len(patches)
    ones = np.ones((n, r), np.float32)
    return FaceFeatures(np.ones((n, 1), np.float32), patches, ones, pooled, GRIDS[r])


@pytest.mark.parametrize(("r", "name"), CASES)
def test_converged_similarity_and_flow(values: dict[str, np.ndarray], r: int, name: str) -> None:
    case = f"r{r}.{name}."
    plan = Sinkhorn(tolerance=1e-12, max_iterations=5000)(
        values[f"r{r}.query_patches"],
        values[f"r{r}.gallery_patches"],
        values[case + "weights_query"],
        values[case + "weights_gallery"],
        flow=True,
    )
    assert plan.flow is not None
    assert (plan.status == Status.CONVERGED).all()
    np.testing.assert_allclose(plan.similarity, values[case + "similarity_converged"], atol=1e-6)
    np.testing.assert_allclose(plan.flow, values[case + "flow_converged"], atol=1e-6)


@pytest.mark.parametrize(("r", "name"), CASES)
def test_published_stopping_rule(values: dict[str, np.ndarray], r: int, name: str) -> None:
    case = f"r{r}.{name}."
    plan = published_sinkhorn(
        values[f"r{r}.query_patches"],
        values[f"r{r}.gallery_patches"],
        values[case + "weights_query"],
        values[case + "weights_gallery"],
    )
    assert plan.flow is not None
    expected = values[case + "similarity_reference_stop"]
    np.testing.assert_allclose(plan.similarity, expected, atol=1e-5)
    np.testing.assert_allclose(plan.flow, values[case + "flow_reference_stop"], atol=1e-5)


@pytest.mark.parametrize(("r", "name"), CASES)
def test_weights(values: dict[str, np.ndarray], r: int, name: str) -> None:
    query = features(values[f"r{r}.query_patches"][None], values[f"r{r}.query_pooled"][None], r)
    gallery = features(values[f"r{r}.gallery_patches"], values[f"r{r}.gallery_pooled"], r)
    u, v = weigh(name, query, gallery)
    np.testing.assert_allclose(u, values[f"r{r}.{name}.weights_query"], atol=1e-6)
    np.testing.assert_allclose(v, values[f"r{r}.{name}.weights_gallery"], atol=1e-6)


@pytest.mark.parametrize("r", GRIDS)
def test_exact_emd(values: dict[str, np.ndarray], r: int) -> None:
    pytest.importorskip("ot", reason="the exact solver needs the extra 'exact' (POT)")
    weights = np.full(r, 1 / r)
    plan = ExactEMD()(
        values[f"r{r}.query_patches"], values[f"r{r}.gallery_patches"], weights, weights
    )
    expected = values[f"r{r}.uniform.similarity_exact"]
    np.testing.assert_allclose(plan.similarity, expected, atol=1e-6)


def test_a_published_score_depends_on_its_batch_and_ours_does_not(
    values: dict[str, np.ndarray],
) -> None:
    """The reason the published rule lives in a module of its own."""
    query, gallery = values["r9.query_patches"], values["r9.gallery_patches"]
    u, v = values["r9.sc.weights_query"], values["r9.sc.weights_gallery"]
    together = published_sinkhorn(query, gallery, u, v).similarity
    alone = [
        published_sinkhorn(query, gallery[n : n + 1], u[n : n + 1], v[n : n + 1]).similarity[0]
        for n in range(6)
    ]
    assert np.abs(together - alone).max() > 1e-6

    ours = Sinkhorn()(query, gallery, u, v).similarity
    ours_alone = [
        Sinkhorn()(query, gallery[n : n + 1], u[n : n + 1], v[n : n + 1]).similarity[0]
        for n in range(6)
    ]
    np.testing.assert_array_equal(ours, ours_alone)
