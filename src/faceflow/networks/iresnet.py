"""IResNet-50 and -100 (InsightFace; Table S6 of the paper): terms, preprocessing, layers.

``networks/torch/iresnet.py`` holds the same layers for PyTorch.
"""

from __future__ import annotations

from functools import partial

from faceflow.networks.architecture import Architecture
from faceflow.networks.graph_builder import GraphBuilder
from faceflow.networks.spec import UNCALIBRATED, NetworkSpec
from faceflow.weights import CheckpointFile, Licence


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

_CHANNELS = (64, 64, 128, 256, 512)  # of the stem and the four stages


def _describe(blocks: tuple[int, ...], graph: GraphBuilder) -> None:
    value = graph.convolve("image", "conv1", 3, 64, padding=1, norm="bn1")
    value = graph.prelu(value, "prelu", 64)
    for stage, count in enumerate(blocks, start=1):
        inputs, outputs = _CHANNELS[stage - 1], _CHANNELS[stage]
        value = _block(graph, value, f"layer{stage}.0", inputs, outputs, 2)
        for block in range(1, count):
            value = _block(graph, value, f"layer{stage}.{block}", outputs, outputs, 1)
    patches = graph.normalise(value, "bn2", 512, output="patches")
    graph.linear(graph.add("Flatten", patches), "fc", 512 * 7 * 7, 512, norm="features")


def _block(
    graph: GraphBuilder, value: str, name: str, inputs: int, outputs: int, stride: int
) -> str:
    inner = graph.normalise(value, f"{name}.bn1", inputs)
    inner = graph.convolve(inner, f"{name}.conv1", inputs, outputs, padding=1, norm=f"{name}.bn2")
    inner = graph.prelu(inner, f"{name}.prelu", outputs)
    inner = graph.convolve(
        inner, f"{name}.conv2", outputs, outputs, stride=stride, padding=1, norm=f"{name}.bn3"
    )
    value = graph.shortcut(value, f"{name}.downsample", inputs, outputs, stride)
    return graph.add("Add", inner, value)


def _architecture(title: str, blocks: tuple[int, ...]) -> Architecture:
    return Architecture(
        title=title,
        image=(3, 112, 112),
        outputs={"embedding": (512,), "patches": (512, 7, 7)},
        describe=partial(_describe, blocks),
    )


ARCHITECTURES = {
    "iresnet50": _architecture("IResNet-50", (3, 4, 14, 3)),
    "iresnet100": _architecture("IResNet-100", (3, 13, 30, 3)),
}
MODELS = tuple(ARCHITECTURES[spec.name].model(spec) for spec in SPECS)
