"""IResNet-50 and -100 (InsightFace; Table S6 of the paper): terms and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from faceflow.networks.spec import UNCALIBRATED, NetworkSpec
from faceflow.weights import CheckpointFile, Licence, ModelFile, Tensors


def _spec(layers: int, parameters: str) -> NetworkSpec:
    return NetworkSpec(
        name=f"iresnet{layers}",
        title=f"IResNet-{layers}, {parameters} M parameters, 112x112 RGB, 7x7 patches",
        source=CheckpointFile(
            file_name="backbone.pth",
            size=0,
            upstream=f"iresnet{layers} of InsightFace's arcface_torch, of whichever training run "
            "you chose",
            where="the model zoo of github.com/deepinsight/insightface, folder "
            "recognition/arcface_torch, which links to OneDrive and Baidu",
        ),
        licence=Licence(
            code="faceflow's own implementation; InsightFace's code is MIT",
            weights="InsightFace's README allows its published models for non-commercial research "
            "only; of other checkpoints, ask whoever gave you yours",
            training_data="depends on your checkpoint: MS1MV2, MS1MV3, Glint360K, WebFace, ...",
            note="faceflow cannot know which training run a checkpoint is of",
        ),
        input_size=(112, 112),
        colour="rgb",
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        template="arcface-112",
        embedding_size=512,
        grid=(7, 7),
        channels=512,
        # The paper's Table S6 does not say with which options these networks were used.
        defaults=UNCALIBRATED,
    )


SPECS = (_spec(50, "43.6"), _spec(100, "65.2"))


def _shapes(name: str) -> Mapping[str, tuple[int, ...]]:
    from faceflow.networks import iresnet_graph  # loads onnx

    return iresnet_graph.ARCHITECTURES[name].expected_shapes()


def _build(name: str, files: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    from faceflow.networks import iresnet_graph

    (tensors,) = files.values()
    return {name: iresnet_graph.ARCHITECTURES[name].build(tensors)}


MODELS = tuple(
    ModelFile(
        name=spec.name,
        title=spec.title,
        kind="network",
        sources=(spec.source,),
        licence=spec.licence,
        graphs=(spec.name,),
        builder=1,
        build=partial(_build, spec.name),
        shapes=partial(_shapes, spec.name),
    )
    for spec in SPECS
)
