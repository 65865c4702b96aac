"""A user's SCRFD file as the detector runs it."""

from __future__ import annotations

from collections.abc import Mapping

from faceflow.errors import WeightsError
from faceflow.faces.detectors.onnx_file import outputs_of, read, rewrite
from faceflow.faces.detectors.scrfd import OUTPUTS


def build_scrfd(files: Mapping[str, bytes], name: str) -> Mapping[str, bytes]:
    """Check the only one of the files, and name its input and outputs.

    InsightFace's files have no speaking names; what an output means follows from its place:
    scores at the strides 8, 16 and 32, then boxes, then landmarks. The sizes stay as the file
    has them.

    Args:
        files: the file's bytes by its name.
        name: what the graph is called.

    Raises:
        WeightsError: the file is another network, or a detector without landmarks.
    """
    (content,) = files.values()
    model = read(content, "the file")
    outputs = outputs_of(model)
    if len(outputs) != len(OUTPUTS):
        raise WeightsError(
            "the file is no SCRFD detector with landmarks",
            why=f"it has {len(outputs)} outputs instead of {len(OUTPUTS)}: scores, boxes and "
            "landmarks at three strides",
            todo="take det_10g.onnx or det_500m.onnx of a pack of InsightFace",
        )
    return {name: rewrite(model, outputs, OUTPUTS, free=False)}
