"""From photos to what every comparison finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.cover_learning import learn
from faceflow.errors import InputError
from faceflow.matching import covers
from faceflow.matching.options import options_for
from faceflow.networks import NetworkSpec, learned


def test_what_was_learned_is_found_by_every_comparison(
    looker: FaceAnalyzer, spec: NetworkSpec, people: Path
) -> None:
    digest = spec.digest
    assert covers.load(spec.name, digest) is None
    assert options_for(digest).patches == "raw"
    told: set[str] = set()
    found = learn(people, looker, progress=lambda done, total, what: told.add(what))
    assert told == {"photos", "first half", "second half", "all photos"}
    assert (found.photos, found.people, found.faces) == (60, 60, 300)
    assert np.nanmean(found.held_out.auc) > 0.65  # mean colours tell covers so well
    json.dumps(found.record(), allow_nan=False)

    model = covers.load(spec.name, digest)
    assert model is not None
    assert model.digest == found.model.digest
    assert model.learned
    assert networks.spec(spec.name).digest == digest, "galleries stay valid"
    options = options_for(digest)
    assert options.model is model
    assert (options.patches == "projected") == found.check.adopted
    expected = found.check.chosen if found.check.adopted else spec.defaults
    assert networks.defaults_for(spec.name) == expected

    # Learned anew in the same process, the new one is found at once.
    again = learn(people, looker, seed=1)
    assert again.model.digest != model.digest
    newer = covers.load(spec.name, digest)
    assert newer is not None
    assert newer.digest == again.model.digest
    assert learned.forget(spec)
    assert covers.load(spec.name, digest) is None


def test_contributions_add_up_to_the_embedding(
    looker: FaceAnalyzer, spec: NetworkSpec, people: Path
) -> None:
    learn(people, looker, limit=50)
    model = covers.load(spec.name, spec.digest)
    assert model is not None
    (face,) = looker.analyze(people / "person-00" / "0.png")
    whole = model.project(face.features).raw_patches.sum(axis=1)
    np.testing.assert_allclose(whole / np.linalg.norm(whole), face.features.embedding, atol=1e-5)


def test_a_network_that_is_not_linear_keeps_raw_patches(
    make_network: Callable[..., NetworkSpec], looker: FaceAnalyzer, people: Path
) -> None:
    bent = make_network(linear=False, name="bent")
    analyzer = FaceAnalyzer(networks.load_network("bent", threads=1), looker.detector)
    found = learn(people, analyzer, limit=50)
    assert not found.model.linear
    model = covers.load("bent", bent.digest)
    assert model is not None
    (face,) = analyzer.analyze(people / "person-00" / "0.png")
    assert model.see(face.features).visibility is not None
    with pytest.raises(InputError, match="not linear"):
        model.project(face.features)
    options = options_for(bent.digest, weighting="uncovered")
    assert (options.patches, options.visible_share) == ("raw", 0.0)
    options.require_model()
    with pytest.raises(InputError, match="cannot be had of this network"):
        options_for(bent.digest, patches="projected").require_model()


def test_too_few_photos_are_refused_before_anything_is_kept(
    looker: FaceAnalyzer, spec: NetworkSpec, people: Path
) -> None:
    with pytest.raises(InputError, match="10 photos show a face"):
        learn(people, looker, limit=10)
    assert learned.recall(spec) is None
    assert learn(people, looker, limit=50, save=False).kept is None
    assert learned.recall(spec) is None
