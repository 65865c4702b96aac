"""PyTorch definitions of the networks, for training (extra ``torch``).

At run time faceflow needs none of them: the same networks are ONNX graphs. A definition's state
dict has the names and shapes of the published checkpoint; its forward takes (N, channels, H, W)
as :meth:`faceflow.networks.FaceNetwork.scale` makes them and gives the raw embedding (N, D) and
the raw patches (N, C, h, w).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from faceflow.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import nn

MODULES: dict[str, str] = {
    "lightcnn-v4": "faceflow.networks.torch.lightcnn:LightCNNV4",
}
"""Network name -> "module:Class"."""


def build(name: str) -> nn.Module:
    """The definition called ``name``, its weights random.

    Raises:
        InputError: there is none; the error lists those there are.
        MissingExtraError: PyTorch is not installed.
    """
    if name not in MODULES:
        raise InputError(
            f"there is no PyTorch module for a network {name!r}",
            todo=f"choose one of {', '.join(MODULES)}",
        )
    module, _, attribute = MODULES[name].partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "torch":
            raise
        raise MissingExtraError(
            "PyTorch is not installed", todo='install it with pip install "faceflow[train]"'
        ) from error
    network: nn.Module = getattr(found, attribute)()
    return network
