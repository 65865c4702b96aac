from __future__ import annotations

import numpy as np
import pytest

from faceflow.errors import InputError
from faceflow.training.split import first_choices, validation_people


def test_people_stay_where_they_are_when_others_come() -> None:
    names = [f"p{i}" for i in range(2000)]
    apart = validation_people(names, 0.2)
    assert 340 < len(apart) < 460
    assert validation_people(names[:100], 0.2) == apart & set(names[:100])
    assert validation_people(names, 0.2, seed=1) != apart


@pytest.mark.parametrize("share", [0, 1, -1, float("nan")])
def test_share_must_be_one(share: float) -> None:
    with pytest.raises(InputError):
        validation_people(["a"], share)


def test_first_choices_by_loop() -> None:
    rng = np.random.default_rng(0)
    query, gallery = rng.standard_normal((20, 5)), rng.standard_normal((8, 5))
    people, gallery_people = rng.integers(4, size=20), np.arange(8) % 4
    right, margin = first_choices(query, people, gallery, gallery_people)
    for n, (q, person) in enumerate(zip(query, people, strict=True)):
        cosine = [q @ g / np.linalg.norm(q) / np.linalg.norm(g) for g in gallery]
        assert right[n] == (gallery_people[np.argmax(cosine)] == person)
        same = max(c for c, p in zip(cosine, gallery_people, strict=True) if p == person)
        other = max(c for c, p in zip(cosine, gallery_people, strict=True) if p != person)
        assert margin[n] == pytest.approx(same - other, abs=1e-6)
