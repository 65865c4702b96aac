"""The PyTorch LightCNN-V4 computes what the reference and the ONNX graph compute."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import InputError
from faceflow.networks import FaceNetwork, spec
from faceflow.networks.lightcnn import ARCHITECTURE
from faceflow.networks.torch import build

torch = pytest.importorskip("torch", reason="PyTorch (extra train) is not installed")


def run(tensors: dict[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
    model = build("lightcnn-v4").eval()
    model.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    with torch.no_grad():
        return [out.numpy() for out in model(torch.tensor(images))]


def images(n: int = 2) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(0))
    return rng.uniform(0, 1, (n, 3, 128, 128)).astype(np.float32)


def test_names_and_shapes_are_those_of_the_checkpoint() -> None:
    state = build("lightcnn-v4").state_dict()
    assert {
        name: tuple(value.shape) for name, value in state.items()
    } == ARCHITECTURE.expected_shapes()


def test_golden(golden: Path) -> None:
    fill = runpy.run_path(str(golden / "deterministic_weights.py"))["fill"]
    tensors = {
        name: fill(name, shape, False) for name, shape in ARCHITECTURE.expected_shapes().items()
    }
    found = run(tensors, images())
    with np.load(golden / "networks.npz") as values:
        for value, part in zip(found, ("embedding", "patches"), strict=True):
            expected = values[f"lightcnn_v4.{part}"]
            assert np.abs(value - expected).max() <= 1e-4 * np.abs(expected).max()


def test_equals_the_graph() -> None:
    rng = np.random.default_rng(1)
    tensors = {
        name: (rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        for name, shape in ARCHITECTURE.expected_shapes().items()
    }
    graph = ARCHITECTURE.build(tensors)
    network = FaceNetwork(spec("lightcnn-v4"), lambda: graph, threads=1)
    for value, expected in zip(run(tensors, images(1)), network.run(images(1)), strict=True):
        assert value.shape == expected.shape
        assert np.abs(value - expected).max() <= 1e-4 * np.abs(expected).max()


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"choose one of .*lightcnn-v4"):
        build("vgg")
