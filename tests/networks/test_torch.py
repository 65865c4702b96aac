"""The PyTorch modules are the published networks: names, shapes, and what they compute."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceflow.errors import InputError, MissingExtraError
from faceflow.networks.torch import MODULES, build

# Name here -> name in the reference data.
REFERENCE = {
    "arcface": "arcface_resnet18",
    "cosface": "cosface_sphere20",
    "facenet": "facenet_inception_resnet_v1",
    "iresnet50": "iresnet50",
    "iresnet100": "iresnet100",
}
# IResNet-100 is IResNet-50's class with other numbers of blocks; its graph is run in
# test_graphs.py, and once is enough for 250 MB of weights.
RUN = [name for name in REFERENCE if name != "iresnet100"]


@pytest.fixture(scope="module")
def torch() -> Any:
    found = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    found.set_num_threads(1)  # several threads cost more than they save on runs this short
    return found


def filled(name: str, deterministic: SimpleNamespace, torch: Any) -> Any:
    with torch.device("meta"):  # PyTorch's own random weights would be drawn for nothing
        module = build(name)
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    tensors = {k: torch.from_numpy(v) for k, v in deterministic.fill(shapes).items()}
    module.load_state_dict(tensors, assign=True)
    return module.eval()


def run(module: Any, images: np.ndarray, torch: Any) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        embedding, patches = module(torch.from_numpy(images))
    return embedding.numpy(), patches.numpy()


@pytest.mark.parametrize("name", REFERENCE)
def test_names_and_shapes(name: str, golden: Path, torch: Any) -> None:
    reference = json.loads((golden / "networks.json").read_text())[REFERENCE[name]]
    with torch.device("meta"):
        module = build(name)
    found = {key: list(value.shape) for key, value in module.state_dict().items()}
    heads = {key: shape for key, shape in reference["keys"].items() if key.startswith("logits.")}
    assert list((found | heads).items()) == list(reference["keys"].items())
    parameters = sum(value.numel() for value in module.parameters())
    assert parameters + sum(np.prod(s) for s in heads.values()) == reference["parameters"]


@pytest.mark.parametrize("name", RUN)
def test_outputs(name: str, golden: Path, deterministic: SimpleNamespace, torch: Any) -> None:
    shape = json.loads((golden / "networks.json").read_text())[REFERENCE[name]]["input"]
    found = run(filled(name, deterministic, torch), deterministic.image(shape), torch)
    with np.load(golden / "networks.npz") as values:
        for part, value in zip(("embedding", "patches"), found, strict=True):
            deterministic.close(value, values[f"{REFERENCE[name]}.{part}"])


def test_outputs_without_reference_data(deterministic: SimpleNamespace, torch: Any) -> None:
    module = filled("cosface", deterministic, torch)
    found = run(module, deterministic.image((2, 3, 112, 96)), torch)
    for value, expected in zip(found, deterministic.few_golden("cosface"), strict=True):
        deterministic.close(deterministic.sample(value), expected)


def test_layer_3_is_in_the_middle_of_arcface(deterministic: SimpleNamespace, torch: Any) -> None:
    images = deterministic.image((2, 1, 128, 128))
    whole = filled("arcface", deterministic, torch)
    with torch.device("meta"):
        middle = build("arcface-layer3")
    middle.load_state_dict(whole.state_dict(), assign=True)
    middle.eval()
    kept = []
    whole.layer3.register_forward_hook(lambda *args: kept.append(args[2]))
    embedding, _ = run(whole, images, torch)
    same, patches = run(middle, images, torch)
    assert patches.shape == (2, 256, 16, 16)
    np.testing.assert_array_equal(patches, kept[0].numpy())
    np.testing.assert_array_equal(same, embedding)


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="choose one of arcface"):
        build("vgg")


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for name, place in MODULES.items():
        monkeypatch.delitem(sys.modules, place.partition(":")[0], raising=False)
        with pytest.raises(MissingExtraError, match=r'pip install "faceflow\[torch\]"'):
            build(name)
