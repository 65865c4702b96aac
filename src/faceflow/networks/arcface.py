"""ArcFace ResNet-18 (Deng et al. 2019; the paper's first network): terms, preprocessing, layers.

``networks/torch/arcface.py`` holds the same layers for PyTorch.
"""

from __future__ import annotations

from dataclasses import replace

from faceflow.networks.architecture import Architecture
from faceflow.networks.graph_builder import GraphBuilder
from faceflow.networks.spec import PAPER_DEFAULTS, NetworkSpec
from faceflow.weights import CheckpointFile, Licence

SPEC = NetworkSpec(
    name="arcface",
    title="ArcFace ResNet-18 of the paper, 25.6 M parameters, 128x128 gray, 8x8 patches",
    source=CheckpointFile(
        file_name="resnet18_110.pth",
        size=0,
        upstream="resnet_face18 without SE of ronghuaiyang/arcface-pytorch",
        where="the Google Drive folder that the README of the paper's code "
        "(github.com/anguyen8/deepface-emd) links to, and on Baidu from "
        "github.com/ronghuaiyang/arcface-pytorch",
    ),
    licence=Licence(
        code="faceflow's own implementation; the upstream repository holds no licence file",
        weights="not stated: neither the upstream repository nor the folder names a licence",
        training_data="CASIA-WebFace (the paper, section S1), a set for research only",
        note="Without a licence nobody but the authors may pass the weights on; ask them before "
        "any use beyond your own research",
    ),
    input_size=(128, 128),
    colour="gray",
    mean=(127.5,),
    std=(127.5,),
    template="deepface-emd-128",
    embedding_size=512,
    grid=(8, 8),
    channels=512,
    defaults=PAPER_DEFAULTS,
)
LAYER3 = replace(
    SPEC,
    name="arcface-layer3",
    title="ArcFace ResNet-18 with the 16x16 patches of its layer 3",
    grid=(16, 16),
    channels=256,
    patch_output="patches-layer3",
    model=SPEC.name,
)

_STAGES = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))  # inputs, outputs, stride


def _describe(graph: GraphBuilder) -> None:
    value = graph.convolve("image", "conv1", 1, 64, padding=1, norm="bn1")
    value = graph.max_pool(graph.prelu(value, "prelu", 1), 2, 2)
    for stage, (inputs, outputs, stride) in enumerate(_STAGES, start=1):
        value = _block(graph, value, f"layer{stage}.0", inputs, outputs, stride)
        value = _block(graph, value, f"layer{stage}.1", outputs, outputs, 1)
        if stage == 3:
            graph.add("Identity", value, output="patches-layer3")
    patches = graph.normalise(value, "bn4", 512, output="patches")
    graph.linear(graph.add("Flatten", patches), "fc5", 512 * 8 * 8, 512, norm="bn5")


def _block(
    graph: GraphBuilder, value: str, name: str, inputs: int, outputs: int, stride: int
) -> str:
    inner = graph.normalise(value, f"{name}.bn0", inputs)
    inner = graph.convolve(inner, f"{name}.conv1", inputs, inputs, padding=1, norm=f"{name}.bn1")
    inner = graph.prelu(inner, f"{name}.prelu", 1)
    inner = graph.convolve(
        inner, f"{name}.conv2", inputs, outputs, stride=stride, padding=1, norm=f"{name}.bn2"
    )
    value = graph.shortcut(value, f"{name}.downsample", inputs, outputs, stride)
    return graph.prelu(graph.add("Add", inner, value), f"{name}.prelu", 1)


ARCHITECTURE = Architecture(
    title="ArcFace ResNet-18",
    image=(1, 128, 128),
    outputs={"embedding": (512,), "patches": (512, 8, 8), "patches-layer3": (256, 16, 16)},
    describe=_describe,
)
MODEL = ARCHITECTURE.model(SPEC)
