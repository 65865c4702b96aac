"""The networks as PyTorch modules, for training and for checking the graphs (extra ``torch``).

faceflow itself runs ONNX graphs and never imports this package. Every module's forward takes
images (N, channels, H, W) float32, scaled as the network's specification says, and gives the
embedding (N, D) and the patches (N, C, h, w). Names and shapes of the state dicts are those of
the published checkpoints.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from faceflow.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import nn

MODULES: dict[str, str] = {
    "arcface": "faceflow.networks.torch.arcface:ArcFaceResNet18",
    "arcface-layer3": "faceflow.networks.torch.arcface:ArcFaceResNet18Layer3",
    "cosface": "faceflow.networks.torch.cosface:Sphere20",
    "facenet": "faceflow.networks.torch.facenet:InceptionResNetV1",
    "facenet-paper": "faceflow.networks.torch.facenet:InceptionResNetV1",
    "lightcnn-v4": "faceflow.networks.torch.lightcnn:LightCNNV4",
    "iresnet50": "faceflow.networks.torch.iresnet:IResNet50",
    "iresnet100": "faceflow.networks.torch.iresnet:IResNet100",
}
"""Network name -> ``module:Class``; the class is called without arguments."""


def build(name: str) -> nn.Module:
    """The network called ``name`` as a PyTorch module with PyTorch's own random weights.

    Raises:
        InputError: no such module; the error lists those there are.
        MissingExtraError: PyTorch is not installed.
    """
    if name not in MODULES:
        raise InputError(
            f"there is no PyTorch module for a network {name!r}",
            todo=f"choose one of {', '.join(MODULES)}",
        )
    module, _, attribute = MODULES[name].partition(":")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        raise MissingExtraError(
            "PyTorch is not installed", todo='run `pip install "faceflow[torch]"`'
        ) from error
    made: nn.Module = getattr(loaded, attribute)()
    return made
