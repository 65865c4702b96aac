"""The last layer learns to look away from what covers, and judges itself without a leak."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from faceflow.errors import InputError
from faceflow.training.head import HeadEpoch, TrainedHead, Validation, train_head
from faceflow.training.recipe import HeadRecipe
from faceflow.training.samples import Samples
from faceflow.training.split import validation_people

D = 16
RECIPE = HeadRecipe(batch_size=32, epochs=12, step=0.03, validation_share=0.3)


def layer(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((D, 64)).astype(np.float32) / 8, np.zeros(D, np.float32)


@pytest.fixture(scope="module")
def start() -> tuple[np.ndarray, np.ndarray]:
    return layer()


def test_learns_for_people_it_never_saw(make_samples: Callable[..., Samples], start) -> None:
    samples = make_samples()
    told: list[HeadEpoch] = []
    found = train_head(samples, *start, RECIPE, progress=told.append)
    assert tuple(told) == found.history
    first, best = found.history[0], found.history[found.best]
    assert best.covered > first.covered + 0.1
    assert best.clean >= first.clean - 0.05
    assert found.history[1].loss > found.history[-1].loss
    assert found.people + found.validation_people == 60
    # The drowned channels have lost weight against the others.
    halves = [
        np.linalg.norm(w[:, 32:]) / np.linalg.norm(w[:, :32]) for w in (start[0], found.weight)
    ]
    assert halves[1] < halves[0]
    # People of another draw, seen neither in training nor in choosing the epoch.
    others = Validation(make_samples(seed=9))
    assert others.judge(found.weight, found.bias)[0] > others.judge(*start)[0] + 0.05


def test_same_seed_same_layer(make_samples: Callable[..., Samples], start) -> None:
    def run(seed: int) -> TrainedHead:
        how = HeadRecipe(batch_size=32, epochs=2, validation_share=0.3, seed=seed)
        return train_head(make_samples(), *start, how)

    one, two, other = run(0), run(0), run(1)
    np.testing.assert_array_equal(one.weight, two.weight)
    assert [e.loss for e in one.history[1:]] == [e.loss for e in two.history[1:]]
    assert one.history[1].loss != other.history[1].loss


def test_full_pull_keeps_the_published_layer(make_samples: Callable[..., Samples], start) -> None:
    how = HeadRecipe(batch_size=32, epochs=2, validation_share=0.3, pull=1.0)
    found = train_head(make_samples(), *start, how)
    np.testing.assert_allclose(found.weight, start[0], atol=1e-6)
    assert found.history[-1].drift < 1e-6


def test_stops_early_and_may_prefer_the_start(make_samples: Callable[..., Samples]) -> None:
    start = np.eye(64, dtype=np.float32), np.zeros(64, np.float32)  # fine for weak covers
    how = HeadRecipe(batch_size=32, epochs=50, step=30.0, pull=0.0, patience=2)
    found = train_head(
        make_samples(noise=0.5), *start, how
    )  # steps so large that they only destroy
    assert found.best == 0
    assert len(found.history) == 3
    np.testing.assert_array_equal(found.weight, start[0])


def test_start_layer_is_not_changed(make_samples: Callable[..., Samples]) -> None:
    weight, bias = layer()
    kept = weight.copy()
    train_head(make_samples(), weight, bias, HeadRecipe(batch_size=32, epochs=1))
    np.testing.assert_array_equal(weight, kept)


def test_no_query_meets_its_own_photo(make_samples: Callable[..., Samples]) -> None:
    validation = Validation(make_samples(people=6))
    assert set(validation.gallery.photo).isdisjoint(validation.queries.photo)
    assert len(validation.gallery) == validation.people == 6
    assert not validation.gallery.covered.any()
    assert len(validation.queries) == 6 * 2 * 2


def test_nobody_is_on_both_sides(make_samples: Callable[..., Samples], monkeypatch, start) -> None:
    seen: list[set[int]] = []
    embed = Samples.embed

    def spy(self: Samples, *args, **kwargs):
        seen.append(set(self.person.tolist()))
        return embed(self, *args, **kwargs)

    monkeypatch.setattr(Samples, "embed", spy)
    samples = make_samples()
    train_head(samples, *start, HeadRecipe(batch_size=32, epochs=1, validation_share=0.3))
    learned, *judged = seen  # the first centres come from those trained on
    apart = validation_people(samples.names, 0.3)
    assert {samples.names[p] for p in learned} == set(samples.names) - apart
    assert all({samples.names[p] for p in one} <= apart for one in judged)


@pytest.mark.parametrize(
    ("people", "photos", "share"), [(60, 1, 0.3), (3, 3, 0.01), (4, 2, 0.99), (60, 2, 0.0001)]
)
def test_too_few(make_samples: Callable[..., Samples], start, people, photos, share) -> None:
    with pytest.raises(InputError, match="too few people"):
        train_head(
            make_samples(people, photos), *start, HeadRecipe(validation_share=share, epochs=1)
        )


def test_a_layer_of_another_size(make_samples: Callable[..., Samples]) -> None:
    with pytest.raises(InputError, match="maps of 64 numbers"):
        train_head(make_samples(), np.zeros((4, 10), np.float32), np.zeros(4, np.float32))
