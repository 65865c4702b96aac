"""The int8 scan: the float scan's answers to the last bit, whatever the faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.arrays import Float32, unit
from faceflow.errors import InputError
from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery, search
from faceflow.gallery.rounded import RoundedEmbeddings
from faceflow.gallery.search import exact_search
from faceflow.matching.transport import native

pytestmark = pytest.mark.skipif(not native.available(), reason="the compiled kernel is not built")
LEVELS = native.info().available if native.available() else ()


def faces(n: int, d: int, seed: int, kind: str) -> Float32:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, d))
    if kind == "near":
        matrix = rng.standard_normal(d) + 1e-3 * matrix
    elif kind == "nearly equal":
        matrix = rng.standard_normal(d) + 1e-7 * matrix
    elif kind == "copies":
        matrix = matrix[rng.integers(0, max(1, n // 10), n)]
    elif kind == "one large":
        matrix[:, 0] *= 1e4
    elif kind == "denormal":
        matrix[:, 1:] *= 1e-42
    made = unit(matrix)
    if kind == "zeros":
        made[rng.random(n) < 0.3] = 0
    return made


KINDS = ["spread", "near", "nearly equal", "copies", "one large", "denormal", "zeros"]


@given(
    n=st.integers(1, 400),
    d=st.integers(1, 600),
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    many=st.integers(1, 9),
)
@settings(max_examples=30, deadline=None)
def test_the_scan_changes_no_bit(
    n: int, d: int, data: st.DataObject, seed: int, kind: str, many: int
) -> None:
    rng = np.random.default_rng(seed)
    matrix, ids = faces(n, d, seed, kind), np.cumsum(rng.integers(1, 4, n))
    queries = unit(np.concatenate([matrix[rng.integers(0, n, many)], rng.standard_normal((2, d))]))
    queries[-1] = 0
    k = data.draw(st.integers(1, n))
    exclude = [rng.choice(ids, rng.integers(0, min(n, 6))).tolist() for _ in queries]
    codes = RoundedEmbeddings.of(matrix)
    for unwanted in (None, exclude):
        plain = exact_search(queries, ids, matrix, k, unwanted)
        scanned = exact_search(queries, ids, matrix, k, unwanted, codes=codes)
        assert np.array_equal(plain.face_ids, scanned.face_ids)
        assert np.array_equal(plain.cosine, scanned.cosine, equal_nan=True)


@pytest.mark.parametrize("isa", LEVELS)
@pytest.mark.parametrize("d", [1, 3, 64, 129])
@pytest.mark.parametrize("many", [1, 4, 7])
def test_every_instruction_set_keeps_all_winners(isa: str, d: int, many: int) -> None:
    matrix = faces(2500, d, d, "spread")
    queries = faces(many, d, 1000 + d, "spread")
    true = queries.astype(np.float64) @ matrix.T.astype(np.float64)
    codes = RoundedEmbeddings.of(matrix)
    for threads in (1, 3):
        kept = codes.survivors(queries, 20, 2.1e-5, threads=threads, isa=isa)
        for rows, cosine in zip(kept, true, strict=True):
            assert (np.diff(rows) > 0).all()
            assert np.isin(np.argsort(-cosine)[:20], rows).all()
            # And it does select: nobody survives who lies below by more than the bounds can.
            assert cosine[rows].min() >= np.sort(cosine)[-20] - 0.15
    portable = codes.survivors(queries, 20, 2.1e-5, threads=1, isa="portable")
    here = codes.survivors(queries, 20, 2.1e-5, threads=1, isa=isa)
    assert all(np.array_equal(a, b) for a, b in zip(portable, here, strict=True))


def test_extreme_codes_do_not_overflow() -> None:
    # All values alike: every code is 127 or -127, the largest sums there are.
    d = 600
    matrix = unit(np.sign(np.random.default_rng(0).standard_normal((64, d))))
    matrix[7], matrix[9] = matrix[3], -matrix[3]
    ids = np.arange(64)
    codes = RoundedEmbeddings.of(matrix)
    for isa in LEVELS:
        rows = codes.survivors(matrix[3:4], 2, 2.1e-5, isa=isa)[0]
        assert rows.tolist() == [3, 7]
    found = exact_search(matrix[3:4], ids, matrix, 2, codes=codes)
    assert found.face_ids.tolist() == [[3, 7]]


@given(cuts=st.lists(st.integers(0, 90), min_size=1, max_size=5), d=st.sampled_from([1, 6, 64]))
@settings(max_examples=20, deadline=None)
def test_growing_equals_rounding_at_once(cuts: list[int], d: int) -> None:
    matrix = faces(90, d, 3, "spread")
    grown = RoundedEmbeddings.of(matrix[:0])
    for cut in [*sorted(cuts), 90]:
        before = [*grown.survivors(matrix[:3], 1, 0.0)] if grown.faces else []
        larger = grown.extended(matrix[:cut])
        # The former one stays valid.
        if before:
            again = grown.survivors(matrix[:3], 1, 0.0)
            assert all(np.array_equal(a, b) for a, b in zip(before, again, strict=True))
        grown = larger
    whole = RoundedEmbeddings.of(matrix)
    used = len(whole.codes)
    assert np.array_equal(grown.codes[:used], whole.codes)
    assert np.array_equal(grown.scales[:90], whole.scales[:90])
    assert np.array_equal(grown.residues[:90], whole.residues[:90])
    # Codes, scale and residue say what the embedding was.
    flat = whole.codes.transpose(0, 2, 1, 3).reshape(used * 16, -1)[:90, :d]
    lost = matrix.astype(np.float64) - flat * whole.scales[:90, None].astype(np.float64)
    length = np.linalg.norm(lost, axis=1)
    assert (length <= whole.residues[:90]).all()
    assert (whole.residues[:90] <= length * 1.00001 + 1e-30).all()


def test_an_unknown_instruction_set_is_refused() -> None:
    matrix = faces(20, 8, 0, "spread")
    with pytest.raises(InputError, match="instruction set"):
        RoundedEmbeddings.of(matrix).survivors(matrix[:1], 1, 0.0, isa="abacus")


def test_a_gallery_scans_as_it_grows_and_shrinks(
    tmp_path: Path,
    create: Callable[..., Gallery],
    enrolments: Callable[..., list[Enrolment]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = enrolments(120)
    queries = FaceFeatures.concatenate([item.features for item in items[:9]])
    scanned: list[int] = []
    select = RoundedEmbeddings.survivors

    def counted(self: RoundedEmbeddings, *a: object, **b: object) -> object:
        scanned.append(self.faces)
        return select(self, *a, **b)  # type: ignore[arg-type]

    monkeypatch.setattr(RoundedEmbeddings, "survivors", counted)
    with create(tmp_path / "x.faceflow") as gallery:

        def both(expected: int) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(search, "SCAN_FROM", 50)
                found = gallery.search(queries, k=5)
            assert scanned == [expected]
            scanned.clear()
            with gallery.snapshot() as view:
                ids = np.array([record.face_id for record in view.faces()])
                matrix = view.features(ids).embedding
            plain = exact_search(queries.embedding, ids, matrix, 5)
            assert np.array_equal(found.face_ids, plain.face_ids)
            assert np.array_equal(found.cosine, plain.cosine)

        gallery.enroll(items[:60])
        with monkeypatch.context() as patch:
            # One photo against many faces: rounding them all would take longer than it saves.
            patch.setattr(search, "SCAN_FROM", 50)
            first = gallery.search(queries, k=5)
            assert not scanned
        monkeypatch.setattr(search, "SCAN_AFTER", 18)
        both(60)
        assert np.array_equal(first.face_ids, gallery.search(queries, k=5).face_ids)
        scanned.clear()
        gallery.enroll(items[60:])
        both(120)
        gallery.remove_person("Person 1")
        both(96)
