"""A user's YuNet file as the detector runs it."""

from __future__ import annotations

from collections.abc import Mapping

from faceflow.errors import WeightsError
from faceflow.faces.detectors.onnx_file import outputs_of, read, rewrite
from faceflow.faces.detectors.yunet import OUTPUTS


def build_yunet(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Check the only one of the files, and name its input.

    The sizes stay as the file has them; the published one takes 640 x 640.

    Raises:
        WeightsError: the file is another network or an older YuNet.
    """
    (content,) = files.values()
    model = read(content, "the file")
    if not set(outputs_of(model)) >= set(OUTPUTS):
        raise WeightsError(
            "the file is no YuNet of 2023",
            why=f"its outputs are {', '.join(outputs_of(model))}",
            todo="take face_detection_yunet_2023mar.onnx of OpenCV's model zoo",
        )
    return {"yunet": rewrite(model, OUTPUTS, OUTPUTS, free=False)}
