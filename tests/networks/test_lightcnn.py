"""LightCNN-V4 computes what the reference implementation computes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import WeightsError
from faceflow.networks import FaceNetwork, spec
from faceflow.networks.lightcnn import ARCHITECTURE
from faceflow.weights import Tensors

SPEC = spec("lightcnn-v4")


def golden_input() -> np.ndarray:
    """The input of golden/README.md for this network."""
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.uniform(0, 1, (2, 3, 128, 128)).astype(np.float32)


def assert_golden(network: FaceNetwork, golden: Path, name: str) -> None:
    embedding, patches = network.run(golden_input())
    with np.load(golden / "networks.npz") as values:
        for found, expected in (
            (embedding, values[f"{name}.embedding"]),
            (patches, values[f"{name}.patches"]),
        ):
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
            # Entry by entry too, where an entry is not tiny beside the others.
            large = np.abs(expected) > 0.05 * np.abs(expected).max()
            np.testing.assert_allclose(found[large], expected[large], rtol=1e-4)


def zeros() -> Tensors:
    return {
        name: np.zeros(shape, np.float32) for name, shape in ARCHITECTURE.expected_shapes().items()
    }


def test_layers_are_those_of_the_reference(golden: Path) -> None:
    reference = json.loads((golden / "networks.json").read_text())["lightcnn_v4"]
    shapes = ARCHITECTURE.expected_shapes()
    assert {name: list(shape) for name, shape in shapes.items()} == reference["keys"]
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == reference["parameters"]


def test_deterministic_weights(golden: Path) -> None:
    fill = runpy.run_path(str(golden / "deterministic_weights.py"))["fill"]
    tensors = {
        name: fill(name, shape, False) for name, shape in ARCHITECTURE.expected_shapes().items()
    }
    content = ARCHITECTURE.build(tensors)
    assert ARCHITECTURE.build(tensors) == content, "equal tensors give equal bytes"
    network = FaceNetwork(SPEC, lambda: content)
    assert_golden(network, golden, "lightcnn_v4")
    weight, bias = network.last_layer
    np.testing.assert_array_equal(bias, tensors["fc.bias"])
    channels_first = weight.transpose(0, 2, 1).reshape(256, -1)
    np.testing.assert_array_equal(channels_first, tensors["fc.weight"])


def test_published_weights(default_network: FaceNetwork, golden: Path) -> None:
    assert_golden(default_network, golden, "lightcnn_v4_pretrained")


def test_pixels_go_in_as_rgb_over_255(default_network: FaceNetwork) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    found = default_network.embed(crops)
    floats = crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    embedding, maps = default_network.run(floats)
    expected = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(found.embedding, expected, atol=1e-6)
    patches = maps.reshape(3, 128, 64).transpose(0, 2, 1)
    np.testing.assert_allclose(found.raw_patches, patches, atol=1e-4 * np.abs(patches).max())
    one_by_one = default_network.embed(crops, batch_size=1)
    np.testing.assert_allclose(one_by_one.embedding, found.embedding, atol=1e-5)


def test_tensors_that_do_not_fit() -> None:
    tensors = zeros()
    tensors["fc.weight"] = tensors["fc.weight"][:, :100]
    tensors["extra"] = tensors.pop("conv5.filter.bias")
    with pytest.raises(WeightsError) as caught:
        ARCHITECTURE.build(tensors)
    for part in (
        "1 missing: conv5.filter.bias (256,)",
        "1 unexpected: extra (256,)",
        "fc.weight (256, 100) instead of (256, 8192)",
    ):
        assert part in str(caught.value)
