"""Imported networks: the graph that is run, what is remembered, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from faceflow import models, networks
from faceflow.errors import InputError, WeightsError
from faceflow.matching import covers
from faceflow.networks.foreign import OnnxDescription, import_network, inspect
from faceflow.weights import Licence, Status

Build = Callable[..., Path]
TERMS = Licence("not stated", "ours", "none, noise", "made for a test")


def describe(file: Path, **changes: Any) -> OnnxDescription:
    found = inspect(file)
    gray = found.input_channels == 1
    return replace(
        OnnxDescription(
            title="A small one",
            input_size=found.input_size,
            colour="gray" if gray else "rgb",
            mean=(127.5,) * found.input_channels,
            std=(127.5,) * found.input_channels,
            template="lightcnn-128" if gray else "arcface-112",
            embedding=found.embeddings[0][0],
            patches=found.patches[0].tensor,
            licence=TERMS,
        ),
        **changes,
    )


def crops(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def original(file: Path, image: np.ndarray, values: list[str]) -> list[np.ndarray]:
    """A second way: ONNX Runtime on the original graph with the value added to its outputs."""
    import onnx

    model = onnx.load(str(file))
    have = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in values if name not in have
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(values, {session.get_inputs()[0].name: image})


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("flatten_gemm", {"batch": "N"}),
        ("flatten_gemm", {"batch": 1}),
        ("mobile", {"batch": "N"}),
        ("mobile", {"batch": 1, "flat": False}),
        ("nhwc", {}),
        ("one_at_a_time", {"batch": 1}),
        ("one_at_a_time", {"batch": "N"}),
        ("unit_output", {}),
        ("mxnet", {}),
    ],
)
def test_features_are_those_of_the_original(
    make: Build, cache: Path, kind: str, options: dict[str, Any]
) -> None:
    file = make(kind, **options)
    description = describe(file)
    spec = import_network("mine", file, description)
    network = networks.load_network("mine", threads=1)
    assert network.spec == spec
    images = crops(3, spec.input_size[0])
    features = network.embed(images)
    scaled = network.scale(images)
    last = kind == "nhwc"
    for n in range(3):
        one = scaled[n : n + 1]
        one = np.ascontiguousarray(one.transpose(0, 2, 3, 1)) if last else one
        embedding, maps = original(file, one, [description.embedding, description.patches])
        maps = maps.transpose(0, 3, 1, 2) if last else maps
        assert (spec.channels, *spec.grid) == maps.shape[1:]
        vector = embedding.ravel() / np.linalg.norm(embedding)
        np.testing.assert_allclose(features.embedding[n], vector, atol=1e-5)
        raw = maps[0].reshape(spec.channels, -1).T
        np.testing.assert_allclose(features.raw_patches[n], raw, atol=1e-4 * np.abs(raw).max())


@pytest.mark.parametrize(
    "kind",
    ["flatten_gemm", "mobile", "nhwc", "one_at_a_time", "mxnet", "constants", "average"],
)
def test_the_last_layer_makes_the_embedding_of_the_patches(
    make: Build, cache: Path, kind: str
) -> None:
    """A layer multiplied out of the operators gives what the operators give, on other faces."""
    options = {"batch": 1} if kind == "one_at_a_time" else {}
    file = make(kind, **options)
    patches = {"patches": "patches"} if kind == "nhwc" else {"patches": "maps"}
    import_network("mine", file, describe(file, **patches))
    network = networks.load_network("mine", threads=1)
    weight, bias = network.last_layer
    for unopened, opened in zip(networks.last_layer("mine"), (weight, bias), strict=True):
        np.testing.assert_array_equal(unopened, opened)
    assert covers.load("mine", network.digest) is None  # nobody measured its covers
    embedding, maps = network.run(network.scale(crops(4, 112)))
    raw = maps.reshape(4, network.spec.channels, -1).transpose(0, 2, 1)
    computed = np.einsum("drc,nrc->nd", weight.astype(np.float64), raw) + bias
    np.testing.assert_allclose(computed, embedding, atol=1e-4 * np.abs(embedding).max())


def test_networks_without_a_last_layer_say_so(make: Build, cache: Path) -> None:
    file = make("unit_output")
    import_network("mine", file, describe(file))
    with pytest.raises(WeightsError, match="no last layer"):
        _ = networks.load_network("mine", threads=1).last_layer
    file = make("flatten_gemm")  # a ReLU and more lie between
    import_network("mine", file, describe(file, patches="stem.act"))
    with pytest.raises(WeightsError, match="no last layer"):
        _ = networks.load_network("mine", threads=1).last_layer


def test_it_is_listed_verified_and_moved(make: Build, cache: Path) -> None:
    spec = import_network("mine", make("mobile"), describe(make("mobile")))
    assert [one.name for one in networks.available()][-1] == "mine"
    assert networks.spec("mine") == spec
    assert networks.defaults_for("mine") == spec.defaults
    state = models.verify("mine")
    assert state.status is Status.READY
    assert state.model.licence.training_data == "none, noise"
    images = crops(2, 112)
    network = networks.load_network("mine", threads=1)
    moved = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(moved.embed(images).embedding, network.embed(images).embedding)
    with pytest.raises(WeightsError, match="was imported from a file"):
        models.pull("mine", force=True)
    (graph,) = models.path("mine").glob("*.onnx")
    graph.write_bytes(graph.read_bytes()[:-1])
    assert models.verify("mine").status is Status.DAMAGED
    with pytest.raises(WeightsError, match=r"models import mine FILE.onnx"):
        networks.load_network("mine")


def test_the_digest_covers_graph_values_and_preprocessing(make: Build, cache: Path) -> None:
    file = make("flatten_gemm")
    base = describe(file)
    digests = {
        import_network("mine", file, one).digest
        for one in (
            base,
            replace(base, std=(128.0, 128.0, 128.0)),
            replace(base, colour="bgr"),
            replace(base, patches="maps"),
        )
    }
    assert len(digests) == 4
    same = [
        import_network(
            "other", file, replace(base, title="x", licence=replace(TERMS, weights="y"))
        ),
        import_network("mine", file, replace(base, defaults=networks.MatchDefaults(1, "apc", 3))),
    ]
    assert {one.digest for one in same} == {import_network("mine", file, base).digest}
    other = make("flatten_gemm", seed=9)
    assert import_network("mine", other, base).digest not in digests


def test_importing_again_replaces_and_a_failed_import_changes_nothing(
    make: Build, cache: Path
) -> None:
    file = make("flatten_gemm")
    first = import_network("mine", file, describe(file))
    opened = networks.load_network("mine", threads=1)
    before = {p.name: p.read_bytes() for p in models.path("mine").iterdir()}
    with pytest.raises(InputError, match="field patches"):
        import_network("mine", file, describe(file, patches="absent"))
    assert {p.name: p.read_bytes() for p in models.path("mine").iterdir()} == before
    second = import_network("mine", file, describe(file, patches="maps"))
    assert networks.spec("mine") == second != first
    assert len(list(models.path("mine").glob("*.onnx"))) == 1
    # One that was opened before must not find the new weights under the old digest.
    with pytest.raises(WeightsError):
        pickle.loads(pickle.dumps(opened))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"patches": "absent"}, "makes no such value.*bn2 7x7x16"),
        ({"patches": "fc.w"}, "makes no such value"),
        ({"patches": "flat"}, r"field patches.*shape \(1, 784\)"),
        ({"input_size": (128, 128), "template": "lightcnn-128"}, "input_size.*takes .112, 112"),
        ({"colour": "gray", "mean": (0.0,), "std": (1.0,)}, "colour.*takes 3 channels"),
    ],
)
def test_descriptions_that_do_not_fit(
    make: Build, cache: Path, changes: dict[str, Any], reason: str
) -> None:
    file = make("flatten_gemm")
    with pytest.raises(InputError, match=reason):
        import_network("mine", file, describe(file, **changes))
    assert not cache.exists()


def test_an_embedding_that_is_none(make: Build, cache: Path) -> None:
    file = make("unit_output")
    with pytest.raises(WeightsError, match="no output 'maps'"):
        import_network("mine", file, describe(file, embedding="maps"))


@pytest.mark.parametrize(
    "name", ["", "Mine", "../x", "a b", "lightcnn-v4", "facenet-paper", "mtcnn", ".x", "x" * 65]
)
def test_names_that_are_refused(make: Build, cache: Path, name: str) -> None:
    file = make("mobile")
    with pytest.raises(InputError):
        import_network(name, file, describe(file))
    assert not cache.exists()


def test_nan_is_refused(make: Build, cache: Path) -> None:
    import onnx
    from onnx import numpy_helper

    file = make("mobile")
    description = describe(file)
    model = onnx.load(str(file))
    for tensor in model.graph.initializer:
        if tensor.name == "gdc.w":
            values = numpy_helper.to_array(tensor).copy()
            values[0, 0, 0, 0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    file.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="NaN"):
        import_network("mine", file, description)


@pytest.mark.parametrize("damage", [None, 3, {}, {"name": "mine"}])
def test_a_broken_record_hides_its_network_only(make: Build, cache: Path, damage: object) -> None:
    import_network("mine", make("mobile"), describe(make("mobile")))
    file = models.path("mine") / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["record"]["spec"] = damage
    file.write_text(json.dumps(manifest))
    known = {one.name for one in networks.available()}
    assert known <= networks.OWN_NAMES
    assert networks.DEFAULT in known
    with pytest.raises(InputError, match="no network 'mine'"):
        networks.load_network("mine")
