"""A trained layer becomes a network of its own: found by name, with its own digest."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from faceflow import models, networks
from faceflow.errors import InputError, WeightsError
from faceflow.matching import covers
from faceflow.matching.options import MatchOptions
from faceflow.networks import (
    FaceNetwork,
    MatchDefaults,
    described,
    lightcnn,
    load_network,
)
from faceflow.networks.spec import UNCALIBRATED
from faceflow.system.caches import cache_dir
from faceflow.training.export import (
    keep,
    last_layer,
    read_tensors,
    require_free,
    root_of,
    save_head,
    save_network,
)
from faceflow.weights import OnnxFile, Status

NAME = "lightcnn-v4-test"


@pytest.fixture
def cache(default_network: FaceNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds the default network and may be written."""
    folder = tmp_path / "cache" / "models"
    folder.mkdir(parents=True)
    shutil.copytree(cache_dir() / "models" / "lightcnn-v4", folder / "lightcnn-v4")
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "cache"))
    return folder


def test_save_and_load(cache: Path, default_network: FaceNetwork) -> None:
    weight, bias = last_layer("lightcnn-v4")
    drc, own_bias = default_network.last_layer
    np.testing.assert_array_equal(weight, drc.transpose(0, 2, 1).reshape(256, -1))
    np.testing.assert_array_equal(bias, own_bias)
    new = weight[::-1].copy(), bias + 1
    spec = save_head(NAME, "lightcnn-v4", *new, trained_on="nobody")
    assert spec == networks.spec(NAME)
    assert spec.digest != networks.spec("lightcnn-v4").digest
    assert networks.defaults_for(NAME) == networks.defaults_for("lightcnn-v4")
    assert networks.available()[0].name == "lightcnn-v4"
    assert networks.available()[-1].name == NAME
    # The raw patches are the base's, so its covers are known; contributions are the new layer's.
    seen = covers.load(NAME, spec.digest)
    base = covers.load("lightcnn-v4", default_network.digest)
    assert seen is not None
    assert base is not None
    np.testing.assert_array_equal(seen.cover.weight, base.cover.weight)
    np.testing.assert_array_equal(seen.projection[..., ::-1], base.projection)
    assert MatchOptions.resolve(spec.defaults, model=seen).patches == "projected"
    network = load_network(NAME, threads=1)
    images = np.random.default_rng(0).random((1, 3, 128, 128), np.float32)
    embedding, maps = network.run(images)
    _, published = default_network.run(images)
    np.testing.assert_allclose(maps, published, atol=1e-5 * np.abs(published).max())
    np.testing.assert_allclose(
        embedding, maps.reshape(1, -1) @ new[0].T + new[1], rtol=1e-3, atol=1e-3
    )
    state = models.verify(NAME)
    assert state.status is Status.READY
    assert [source.requirement for source in state.model.sources] == ["trained here"]
    assert "nobody" in state.model.licence.training_data
    # Another layer under the same name is another network, also for one opened before.
    other = save_head(NAME, "lightcnn-v4", weight, bias + 2, trained_on="nobody")
    assert other.digest != spec.digest
    with pytest.raises(WeightsError, match="is not ready"):
        pickle.loads(pickle.dumps(network))
    assert len(list((cache / NAME).glob("*.onnx"))) == 1


def test_damage(cache: Path) -> None:
    save_head(NAME, "lightcnn-v4", *last_layer("lightcnn-v4"), trained_on="nobody")
    (graph,) = (cache / NAME).glob("*.onnx")
    graph.write_bytes(b"")
    with pytest.raises(WeightsError, match="is not ready"):
        load_network(NAME)
    with pytest.raises(WeightsError, match="trained on this machine"):
        models.pull(NAME)
    manifest = cache / NAME / "manifest.json"
    values = json.loads(manifest.read_text())
    for spoil in ({"grid": 8}, {"source": None}, {"licence": {}}, {"name": "other"}, {"x": 1}):
        changed = values | {"record": values["record"] | {"spec": values["record"]["spec"] | spoil}}
        manifest.write_text(json.dumps(changed))
        with pytest.raises(InputError, match="there is no network"):
            networks.spec(NAME)
    manifest.write_text("{")
    assert {s.name for s in networks.available()} <= networks.OWN_NAMES


def test_a_record_cannot_shadow_a_published_network(cache: Path) -> None:
    save_head(NAME, "lightcnn-v4", *last_layer("lightcnn-v4"), trained_on="nobody")
    shutil.rmtree(cache / "lightcnn-v4")
    text = (cache / NAME / "manifest.json").read_text()
    (cache / NAME).rename(cache / "lightcnn-v4")
    (cache / "lightcnn-v4" / "manifest.json").write_text(text.replace(NAME, "lightcnn-v4"))
    assert {s.name for s in networks.available()} <= networks.OWN_NAMES
    assert networks.spec("lightcnn-v4") == lightcnn.SPEC
    assert models.verify("lightcnn-v4").status is Status.OUTDATED


@pytest.mark.parametrize(
    "name", ["", "../x", "A", "a b", "-a", "a" * 65, "lightcnn-v4", "facenet-paper", "mtcnn"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError, match="name"):
        require_free(name, replace=True)


def test_a_taken_name_needs_a_word(cache: Path) -> None:
    save_head(NAME, "lightcnn-v4", *last_layer("lightcnn-v4"), trained_on="nobody")
    with pytest.raises(InputError, match="--force"):
        require_free(NAME)
    require_free(NAME, replace=True)


def test_a_layer_that_does_not_fit(cache: Path) -> None:
    with pytest.raises(InputError, match="needs"):
        save_head(NAME, "lightcnn-v4", np.zeros((2, 2)), np.zeros(2), trained_on="nobody")


def test_the_graph_is_its_own_also_where_the_base_runs_another_models(cache: Path) -> None:
    published = networks.graph("lightcnn-v4")
    base = replace(networks.spec("lightcnn-v4"), model="arcface")
    keep(NAME, base, published, trained_on="nobody")
    assert networks.spec(NAME).model_name == NAME
    assert networks.graph(NAME) == published


def test_defaults_are_those_of_the_base_where_they_need_no_patch_model(cache: Path) -> None:
    graph, base = networks.graph("lightcnn-v4"), networks.spec("lightcnn-v4")
    plain, seen = (
        MatchDefaults(0.2, "apc", 50),
        MatchDefaults(0.2, "uncovered", 50, "projected", 0.4),
    )
    for given, expected in ((plain, plain), (seen, UNCALIBRATED)):
        keep(NAME, replace(base, defaults=given), graph, trained_on="nobody")
        assert networks.defaults_for(NAME) == expected
    spec = keep(NAME, replace(base, defaults=seen), graph, trained_on="nobody")
    assert covers.load(NAME, spec.digest) is None, "whole networks have patches of their own"
    spec = keep(NAME, base, graph, trained_on="nobody", same_patches=True)
    again = keep("again", spec, graph, trained_on="nobody", same_patches=True)
    assert covers.load("again", again.digest) is not None


def test_a_layer_that_nothing_computes_with_is_not_trained(cache: Path) -> None:
    """An imported network's fc.weight was multiplied out of its operators, for readers."""
    model = onnx.load_from_string(networks.graph("lightcnn-v4"))
    (stored,) = (tensor for tensor in model.graph.initializer if tensor.name == "fc.weight")
    other = model.graph.initializer.add()
    other.CopyFrom(stored)
    other.name = "other"
    for node in model.graph.node:
        for n, name in enumerate(node.input):
            if name == "fc.weight":
                node.input[n] = "other"
    source = OnnxFile("face.onnx", "0" * 64, 1, "nobody")
    spec = replace(networks.spec("lightcnn-v4"), name="mine", source=source)
    described.save(spec, model.SerializeToString())
    networks.last_layer("mine")
    with pytest.raises(WeightsError, match="no last layer that can be trained alone"):
        last_layer("mine")


def test_an_imported_and_a_trained_network_of_one_name_replace_each_other(cache: Path) -> None:
    layer, graph = last_layer("lightcnn-v4"), networks.graph("lightcnn-v4")
    source = OnnxFile("face.onnx", "0" * 64, 1, "nobody")
    spec = replace(networks.spec("lightcnn-v4"), name=NAME, source=source)
    first = save_head(NAME, "lightcnn-v4", *layer, trained_on="nobody")
    described.save(spec, graph)
    assert networks.spec(NAME) == spec
    save_head(NAME, "lightcnn-v4", *layer, trained_on="nobody")
    assert networks.spec(NAME) == first
    assert [s.name for s in networks.available()].count(NAME) == 1


def test_whole_network_there_and_back(cache: Path, default_network: FaceNetwork) -> None:
    shapes = lightcnn.ARCHITECTURE.expected_shapes()
    tensors = read_tensors("lightcnn-v4")
    assert {name: value.shape for name, value in tensors.items()} == shapes
    tensors["conv5.filter.weight"] = tensors["conv5.filter.weight"] * np.float32(1.5)
    spec = save_network(NAME, "lightcnn-v4", tensors, trained_on="nobody")
    assert root_of(spec) == "lightcnn-v4"
    images = np.random.default_rng(0).random((1, 3, 128, 128), np.float32)
    found, published = (load_network(n, threads=1).run(images)[1] for n in (NAME, "lightcnn-v4"))
    assert np.abs(found - published).max() > 0.1  # the biases were not scaled
    for key, value in read_tensors(NAME).items():
        np.testing.assert_allclose(value, tensors[key], rtol=1e-5, atol=1e-6)
    # Trained once more, the descendant still knows where it came from.
    again = save_network(f"{NAME}-2", NAME, tensors, trained_on="nobody")
    assert root_of(again) == "lightcnn-v4"
    with pytest.raises(WeightsError, match="not those of LightCNN-V4"):
        save_network(NAME, "lightcnn-v4", {"x": np.zeros(1)}, trained_on="nobody")
