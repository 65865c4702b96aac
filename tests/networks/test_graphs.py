"""The ONNX graphs compute what the published networks compute, filled without PyTorch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceflow import networks
from faceflow.errors import WeightsError
from faceflow.networks import FaceNetwork, arcface, cosface, facenet, iresnet
from faceflow.networks.architecture import Architecture
from faceflow.networks.graph_builder import GraphBuilder
from faceflow.weights.session import open_session

ARCHITECTURES = {
    "arcface": ("arcface_resnet18", arcface.ARCHITECTURE),
    "cosface": ("cosface_sphere20", cosface.ARCHITECTURE),
    "facenet": ("facenet_inception_resnet_v1", facenet.ARCHITECTURE),
    "iresnet50": ("iresnet50", iresnet.ARCHITECTURES["iresnet50"]),
    "iresnet100": ("iresnet100", iresnet.ARCHITECTURES["iresnet100"]),
}
BATCH = {"iresnet50": 1, "iresnet100": 1}


def open_network(name: str, content: bytes) -> FaceNetwork:
    source = replace(networks.spec(name).source, tensors_sha256="0" * 64)
    return FaceNetwork(replace(networks.spec(name), source=source), lambda: content, threads=1)


def check_last_layer(network: FaceNetwork, embedding: np.ndarray, patches: np.ndarray) -> None:
    """The embedding is the linear function of the raw patches that ``last_layer`` says."""
    weight, bias = network.last_layer
    d, c = network.spec.embedding_size, network.spec.channels
    assert weight.shape == (d, patches[0, 0].size, c)
    raw = patches.reshape(len(patches), c, -1).transpose(0, 2, 1)
    made = np.einsum("drc,nrc->nd", weight, raw, optimize=True) + bias
    np.testing.assert_allclose(made, embedding, atol=1e-5 * np.abs(embedding).max())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs(name: str, deterministic: SimpleNamespace, request: Any) -> None:
    reference, architecture = ARCHITECTURES[name]
    content = architecture.build(deterministic.fill(architecture.expected_shapes()))
    network = open_network(name, content)
    images = deterministic.image((BATCH.get(name, 2), *architecture.image))
    assert images.shape[2:] == network.spec.input_size
    embedding, patches = network.run(images)
    assert patches.shape[1:] == (network.spec.channels, *network.spec.grid)
    if name != "iresnet100":  # 260 MB once more, for what iresnet50 shows too
        check_last_layer(network, embedding, patches)
    if name == "facenet":  # the published network ends with this step, the graph before it
        embedding = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    few = deterministic.few_golden(name)
    deterministic.close(deterministic.sample(embedding), few[0])
    deterministic.close(deterministic.sample(patches), few[1])
    if name == "arcface":
        check_layer_3(content, images, embedding, deterministic)
    golden: Path = request.getfixturevalue("golden")  # skips without the reference data
    with np.load(golden / "networks.npz") as values:
        deterministic.close(embedding, values[f"{reference}.embedding"])
        deterministic.close(patches, values[f"{reference}.patches"])


def check_layer_3(
    content: bytes, images: np.ndarray, embedding: np.ndarray, deterministic: SimpleNamespace
) -> None:
    middle = open_network("arcface-layer3", content)
    same, patches = middle.run(images)
    np.testing.assert_array_equal(same, embedding)
    assert patches.shape[1:] == (middle.spec.channels, *middle.spec.grid) == (256, 16, 16)
    deterministic.close(
        deterministic.sample(patches), deterministic.few_golden("arcface-layer3")[1]
    )
    assert middle.digest != open_network("arcface", content).digest
    with pytest.raises(WeightsError, match="patches come from the middle"):
        _ = middle.last_layer


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_entries_are_those_of_the_reference(name: str, golden: Path) -> None:
    reference, architecture = ARCHITECTURES[name]
    published = json.loads((golden / "networks.json").read_text())[reference]["keys"]
    needed = {
        key: tuple(shape)
        for key, shape in published.items()
        if not key.endswith(".num_batches_tracked") and not key.startswith("logits.")
    }
    assert architecture.expected_shapes() == needed


# All five agree with the same golden values; with other weights two families are enough.
@pytest.mark.parametrize("name", ["cosface", "facenet"])
def test_graph_and_module_agree(name: str, deterministic: SimpleNamespace) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    from faceflow.networks.torch import build

    torch.set_num_threads(1)
    architecture: Architecture = ARCHITECTURES[name][1]
    with torch.device("meta"):
        module = build(name)
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    tensors = deterministic.fill(shapes, salt="other ")
    state = {key: torch.from_numpy(value) for key, value in tensors.items()}
    module.load_state_dict(state, assign=True)
    images = 0.5 * deterministic.image((1, *architecture.image))
    with torch.no_grad():
        expected = [value.numpy() for value in module.eval()(torch.from_numpy(images))]
    needed = {key: tensors[key] for key in architecture.expected_shapes()}
    session = open_session(architecture.build(needed), threads=1)
    embedding, patches = session.run(["embedding", "patches"], {"image": images})
    if name == "facenet":
        embedding = embedding / np.linalg.norm(embedding)
    deterministic.close(embedding, expected[0])
    deterministic.close(patches, expected[1])


def test_equal_tensors_give_equal_bytes(deterministic: SimpleNamespace) -> None:
    def describe(graph: GraphBuilder) -> None:
        value = graph.convolve("image", "first", 3, 4, padding=1, norm="bn")
        value = graph.add("Identity", graph.prelu(value, "slopes", 4), output="patches")
        graph.linear(graph.add("Flatten", value), "last", 4 * 25, 2)

    outputs = {"embedding": (2,), "patches": (4, 5, 5)}
    small = Architecture("small", (3, 5, 5), outputs, describe)
    tensors = deterministic.fill(small.expected_shapes())
    again = dict(reversed([(name, array.copy()) for name, array in tensors.items()]))
    content = small.build(tensors)
    assert small.build(again) == content
    again["last.bias"][0] += 1
    assert small.build(again) != content


def test_tensors_that_do_not_fit() -> None:
    shapes = cosface.ARCHITECTURE.expected_shapes()
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    broken = tensors | {"fc.weight": np.zeros((512, 100), np.float32)}
    with pytest.raises(WeightsError, match=r"fc.weight \(512, 100\) instead of \(512, 21504\)"):
        cosface.ARCHITECTURE.build(broken)
    broken = tensors | {"layer4.0.bias": np.full(512, np.nan, np.float32)}
    with pytest.raises(WeightsError, match=r"layer4\.0\.bias holds NaN"):
        cosface.ARCHITECTURE.build(broken)


def test_a_negative_variance(deterministic: SimpleNamespace) -> None:
    tensors = deterministic.fill(arcface.ARCHITECTURE.expected_shapes())
    tensors["layer2.0.bn1.running_var"][3] = -0.5
    with pytest.raises(WeightsError, match=r"layer2\.0\.conv1\.weight .* negative variance"):
        arcface.ARCHITECTURE.build(tensors)
