"""Where the kernel is missing, every part that uses it falls back to its NumPy twin."""

from __future__ import annotations

import numpy as np
import pytest
from faceflow.similarity import emd_similarity, takes_codes

from faceflow.arrays import unit
from faceflow.errors import MissingExtraError
from faceflow.gallery import rounded
from faceflow.gallery.search import exact_search
from faceflow.matching.transport import Sinkhorn, native

built = pytest.mark.skipif(not native.available(), reason="the kernel is not built")


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_why_missing", ImportError("hidden by a test"))


@built
@pytest.mark.parametrize("weighting", native.WEIGHTINGS)
def test_weights_and_transport(
    random_features, weighting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, gallery = random_features(1, seed=1), random_features(5, seed=2)
    compiled = emd_similarity(query, gallery, weighting=weighting, flow=True)
    monkeypatch.setattr(native, "_why_missing", ImportError("hidden by a test"))
    plain = emd_similarity(query, gallery, weighting=weighting, flow=True)
    np.testing.assert_allclose(plain.similarity, compiled.similarity, atol=2e-6)
    assert plain.flow is not None
    assert compiled.flow is not None
    assert plain.flow.dtype == np.float64, "that was not the NumPy backend"
    np.testing.assert_allclose(plain.flow, compiled.flow, atol=2e-6)


@built
def test_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    patches = rng.standard_normal((5, 9, 33)).astype(np.float32)
    patches[2, 4] = 0
    maps = rng.standard_normal((9, 33, 21)).astype(np.float32)
    compiled = native.project(patches, maps)
    monkeypatch.setattr(native, "_why_missing", ImportError("hidden by a test"))
    plain = native.project(patches, maps)
    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert not plain[0][2, 4].any()
    alone = native.project(patches[2:3], maps)
    np.testing.assert_array_equal(alone[0][0], plain[0][2])


@built
def test_stage_one_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    matrix = unit(rng.standard_normal((400, 32))).astype(np.float32)
    search = (matrix[:3], np.arange(1, 401), matrix, 5)
    compiled = exact_search(*search, codes=rounded.RoundedEmbeddings.of(matrix))
    monkeypatch.setattr(native, "_why_missing", ImportError("hidden by a test"))
    assert not rounded.available(32)
    plain = exact_search(*search)
    np.testing.assert_array_equal(plain.face_ids, compiled.face_ids)
    np.testing.assert_array_equal(plain.cosine, compiled.cosine)


@pytest.mark.usefixtures("no_kernel")
def test_what_needs_the_kernel_says_so(random_features) -> None:
    query = random_features(1)
    assert Sinkhorn().backend_for(64, 64, 128) == "numpy"
    assert not takes_codes(query, "uniform", Sinkhorn(dtype="int8"))
    for call in (
        native.info,
        lambda: Sinkhorn(backend="native")(np.eye(2), np.eye(2)[None], np.ones(2), np.ones(2)),
    ):
        with pytest.raises(MissingExtraError, match=r"kernel is not installed[\s\S]*C\+\+17"):
            call()


def test_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(native, "_why_missing", None)
    assert native.why_missing() is None
    package = tmp_path / "faceflow"
    (package / "transport").mkdir(parents=True)
    monkeypatch.setattr(native, "__file__", str(package / "transport" / "native.py"))
    monkeypatch.setattr(native, "_why_missing", ImportError("wrong architecture"))
    (package / "_kernel.pyi").touch()
    assert "without a C++17 compiler" in str(native.why_missing())
    (package / "_kernel.abi3.so").touch()
    assert native.why_missing() == "_kernel.abi3.so does not load (wrong architecture)"
