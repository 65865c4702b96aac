"""Evidence and choice, on searches whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceflow.calibration import Setting, conclude, impostors_needed, settings_grid
from faceflow.calibration.calibrating import require_impostors
from faceflow.calibration.choice import LEAST_PEOPLE, decide, folds, judge, simplest_good
from faceflow.calibration.evidence import Evidence, collect
from faceflow.errors import InputError
from faceflow.evaluation.metrics.open_set import tpir_at_fpir
from faceflow.evaluation.metrics.pairs import threshold_for


def test_simplest_settings_come_first() -> None:
    grid = settings_grid(["uniform", "apc"], alphas=(0.5, 0.1), ks=(50, 20))
    assert grid[0].alpha == 0
    assert [(s.k, s.alpha, s.weighting) for s in grid[1:4]] == [
        (20, 0.1, "uniform"),
        (20, 0.1, "apc"),
        (20, 0.5, "uniform"),
    ]
    assert len(grid) == len(set(grid)) == 9


def test_projected_patches_come_after_raw_ones_of_the_same_cost() -> None:
    grid = settings_grid(
        ["uniform", "apc"], alphas=(0.5, 0.1), ks=(20,), visible_shares=(0.5, 0, 0.5)
    )
    assert [str(setting) for setting in grid[:6]] == [
        "stage 1 alone",
        "alpha 0.1, uniform, k 20",
        "alpha 0.1, apc, k 20",
        "alpha 0.1, uncovered, k 20, projected patches",
        "alpha 0.1, uncovered, k 20, projected patches, visible share 0.5",
        "alpha 0.5, uniform, k 20",
    ]
    assert len(grid) == len(set(grid)) == 9


@pytest.mark.parametrize(
    "options", [{"alphas": ()}, {"alphas": (0.0,)}, {"alphas": (1.5,)}, {"ks": ()}, {"ks": (0,)}]
)
def test_impossible_grids_are_refused(options) -> None:
    with pytest.raises(InputError):
        settings_grid(["uniform"], **options)
    with pytest.raises(InputError, match="nothing to choose"):
        settings_grid([])


def test_evidence_equals_the_rankings_own_account(rankings) -> None:
    """Against :meth:`Rankings.searches`, and a shorter k against a ranking cut by hand."""
    mated = np.arange(60) % 2 == 0
    full = rankings(np.full(60, 1.0), mated, seed=1)
    cut = replace(full, **{n: getattr(full, n)[:, :10] for n in ("faces", "cosine", "emd", "mate")})
    grid = settings_grid(["uniform"], alphas=(0.3, 1.0), ks=(10, 30))
    evidence = collect(
        {("raw", "uniform"): full},
        grid,
        mated=mated,
        person=np.arange(60),
        stratum=0 * mated,
        strata=("a",),
    )
    for n, setting in enumerate(grid[1:], start=1):
        told = (cut if setting.k == 10 else full).searches(mated, setting.alpha)
        np.testing.assert_array_equal(evidence.top[n], told.top)
        np.testing.assert_array_equal(evidence.hit[n], (told.rank == 1) & mated)
        point = tpir_at_fpir(told, 0.2)
        found = evidence.hit[n] & (evidence.top[n] >= point.threshold)
        assert found[mated].mean() == point.tpir


def test_a_ranking_without_emd_is_refused(rankings) -> None:
    mated = np.array([True, False])
    bare = replace(rankings(np.ones(2), mated, seed=0), emd=np.full((2, 30), np.nan))
    with pytest.raises(InputError, match="lacks the EMD"):
        collect(
            {("raw", "uniform"): bare},
            settings_grid(["uniform"]),
            mated=mated,
            person=np.arange(2),
            stratum=np.zeros(2, dtype=np.int64),
            strata=("a",),
        )


def test_the_visible_cosine_is_mixed_in_as_the_score_says(rankings) -> None:
    mated = np.arange(40) % 2 == 0
    raw, projected = (rankings(np.full(40, 1.0), mated, seed=seed) for seed in (1, 2))
    shown = np.random.default_rng(3).uniform(-1, 1, raw.cosine.shape)
    both = {
        ("raw", "uniform"): raw,
        ("projected", "uncovered"): replace(projected, visible_cosine=shown, visible_share=0.4),
    }
    grid = settings_grid(["uniform"], alphas=(0.3,), ks=(30,), visible_shares=(0.0, 0.4))
    rest = {"mated": mated, "person": np.arange(40), "stratum": 0 * mated, "strata": ("a",)}
    evidence = collect(both, grid, **rest)
    told = both["projected", "uncovered"].searches(mated, 0.3)
    np.testing.assert_allclose(evidence.top[3], told.top, rtol=1e-15)
    np.testing.assert_array_equal(evidence.hit[3], (told.rank == 1) & mated)
    np.testing.assert_array_equal(evidence.top[2], projected.searches(mated, 0.3).top)
    np.testing.assert_array_equal(evidence.top[1], raw.searches(mated, 0.3).top)
    with pytest.raises(InputError, match="no ranking was made of projected patches"):
        collect({("raw", "uniform"): raw}, grid, **rest)
    with pytest.raises(InputError, match="visible faces' cosine"):
        collect(both | {("projected", "uncovered"): projected}, grid, **rest)


@pytest.mark.parametrize("fpir", [0.1, None])
def test_an_emd_that_knows_more_is_used(make_evidence, origin, fpir) -> None:
    result = conclude(make_evidence(clean=1.6, mask=1.6), fpir, origin)
    assert result.helps
    assert result.setting.alpha > 0
    assert result.calibration.alpha == result.setting.alpha
    assert result.overall.tpir.low > result.overall.stage1_tpir.high
    assert (result.calibration.threshold is not None) == (fpir is not None)
    if fpir is not None:
        # The rate that was asked for holds on people who did not set the threshold.
        rates = [stratum.rates.fpir for stratum in result.strata]
        assert max(rate.low for rate in rates) < fpir < max(rate.high for rate in rates)


@pytest.mark.parametrize("fpir", [0.1, None])
def test_pure_noise_is_switched_off(make_evidence, origin, fpir) -> None:
    helped = 0
    for seed in range(10):
        result = conclude(make_evidence(seed=seed, people=120), fpir, origin)
        helped += result.helps
        if not result.helps:
            assert result.setting.alpha == 0
            assert "does not help" in result.verdict
    assert helped <= 1


def test_a_setting_that_wins_on_few_people_only_must_prove_itself(make_evidence, origin) -> None:
    """With three people better off in all, an exact sign test cannot reach 0.05."""
    evidence = make_evidence(clean=-5, mask=-5, people=60)
    few = np.isin(evidence.person, [0, 2, 4])
    evidence.hit[:, few] = np.array([s.alpha > 0 for s in evidence.settings])[:, None]
    lucky = conclude(evidence, None, origin)
    assert lucky.setting.alpha == 0


def test_each_stratum_shows_what_suits_it_alone(make_evidence, origin) -> None:
    result = conclude(make_evidence(mask=2.5), 0.1, origin, unseen={"mask": 3})
    clean, mask = result.strata
    assert (clean.name, clean.own.alpha, clean.unseen) == ("clean", 0.0, 0)
    assert mask.own.alpha > 0
    assert mask.unseen == 3
    assert mask.rates.tpir.estimate > mask.rates.stage1_tpir.estimate
    assert clean.rates.tpir.estimate < clean.rates.stage1_tpir.estimate
    assert clean.rates.mated + mask.rates.mated == result.overall.mated


def test_the_threshold_keeps_every_stratum_at_the_target(make_evidence, origin) -> None:
    """Strangers of one stratum score higher: that one decides; one too small to tell does not."""
    evidence = make_evidence()
    clean = evidence.stratum == 0
    evidence.top[:, clean] += 0.1
    strangers = ~evidence.mated & clean
    decision = decide(evidence, 0.1)
    top = evidence.top[decision.setting]
    assert decision.threshold == threshold_for(top[strangers], 0.1)
    assert (top[strangers] >= decision.threshold).mean() == 0.1
    masked = ~evidence.mated & ~clean
    assert (top[masked] >= decision.threshold).mean() < 0.1

    few = np.flatnonzero(strangers)[:8]  # an FPIR of 0.1 cannot be told from eight
    cut = evidence.select(np.sort(np.concatenate([few, np.flatnonzero(evidence.mated | masked)])))
    assert decide(cut, 0.1).threshold == threshold_for(top[masked], 0.1)


def test_equal_settings_give_the_simplest(make_evidence) -> None:
    evidence = make_evidence()
    evidence.top[:] = evidence.top[:1]
    evidence.hit[:] = evidence.hit[:1]
    assert simplest_good(evidence, 0.1) == 0
    assert decide(evidence, 0.1).setting == 0


def test_a_clear_best_is_taken(make_evidence) -> None:
    evidence = make_evidence()
    evidence.hit[3] = evidence.mated
    assert simplest_good(evidence, None) == 3


def test_whoever_is_judged_had_no_part_in_the_decision(make_evidence) -> None:
    """Turn the test people's scores upside down: what their fold decides must not move."""
    evidence = make_evidence(clean=1.6, mask=1.6)
    before = judge(evidence, 0.1, seed=4).decisions
    for n, (_, test) in enumerate(folds(evidence, 5, 4)):
        changed = Evidence(
            evidence.settings,
            evidence.top.copy(),
            evidence.hit.copy(),
            *(getattr(evidence, name) for name in ("mated", "person", "stratum", "strata")),
        )
        changed.top[:, test] = 9 - changed.top[:, test]
        changed.hit[:, test] ^= True
        after = judge(changed, 0.1, seed=4).decisions
        assert after[n] == before[n]
        assert any(after[m] != before[m] for m in range(5) if m != n)


def test_the_order_of_searches_decides_nothing(make_evidence) -> None:
    evidence = make_evidence(clean=1.0, mask=1.0, people=80)
    shuffled = evidence.select(np.random.default_rng(5).permutation(len(evidence)))
    assert decide(shuffled, 0.1, seed=3) == decide(evidence, 0.1, seed=3)


@given(count=st.integers(2, 6), people=st.integers(6, 40), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_folds_divide_people_not_searches(count: int, people: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(people), rng.integers(1, 5, people))
    size = len(person)
    evidence = Evidence(
        (Setting(0, "uniform", 1),),
        np.zeros((1, size)),
        np.zeros((1, size), dtype=np.bool_),
        person % 2 == 0,
        person,
        np.zeros(size, dtype=np.int64),
        ("a",),
    )
    tested = []
    for train, test in folds(evidence, count, seed):
        assert not set(person[train]) & set(person[test])
        assert sorted([*train, *test]) == list(range(size))
        tested += test.tolist()
    assert sorted(tested) == list(range(size))


@given(st.integers(1, 10_000))
@settings(max_examples=30)
def test_impostors_needed_is_three_over_the_rate(percent_of_percent: int) -> None:
    rate = Fraction(percent_of_percent, 10_000)
    needed = impostors_needed(float(rate))
    assert (needed - 1) * rate < 3 <= needed * rate


def test_too_few_impostors_are_refused_with_the_number_needed() -> None:
    with pytest.raises(InputError, match=r"299 photographs.*300 are needed.*can back 0\.01"):
        require_impostors(299, 299, 0.01)
    require_impostors(300, 299, 0.01)
    with pytest.raises(InputError, match="only 9 people"):
        require_impostors(300, 9, 0.01)
    with pytest.raises(InputError, match="0 photographs"):
        require_impostors(0, 0, 0.5)


def test_too_few_people_to_find_are_refused(make_evidence, origin) -> None:
    with pytest.raises(InputError, match=f"at least {LEAST_PEOPLE}"):
        conclude(make_evidence(people=2 * LEAST_PEOPLE - 2), None, origin)


def test_one_impostor_with_most_photos_is_refused_in_words(make_evidence, origin) -> None:
    """A fold without that person cannot measure the rate."""
    evidence = make_evidence(people=40)
    strangers = np.flatnonzero(~evidence.mated)
    evidence.person[strangers[:-2]] = 1
    with pytest.raises(InputError, match="cannot be measured"):
        conclude(evidence, 0.1, origin)
