"""CosFace sphere20 (Wang et al. 2018; the paper's second network): terms, preprocessing, layers.

``networks/torch/cosface.py`` holds the same layers for PyTorch.
"""

from __future__ import annotations

from faceflow.networks.architecture import Architecture
from faceflow.networks.graph_builder import GraphBuilder
from faceflow.networks.spec import PAPER_DEFAULTS, NetworkSpec
from faceflow.weights import CheckpointFile, Licence

SPEC = NetworkSpec(
    name="cosface",
    title="CosFace sphere20 of the paper, 22.7 M parameters, 112x96 RGB, 7x6 patches",
    source=CheckpointFile(
        file_name="ACC99.28.pth",
        size=0,
        upstream="sphere20 of MuggleWang/CosFace_pytorch",
        where="the Google Drive folder that the README of the paper's code "
        "(github.com/anguyen8/deepface-emd) links to, and on Baidu from "
        "github.com/MuggleWang/CosFace_pytorch",
    ),
    licence=Licence(
        code="faceflow's own implementation; the upstream repository is MIT",
        weights="MIT if the upstream repository's licence covers them, which it does not say",
        training_data="CASIA-WebFace (the paper, section S1), a set for research only",
        note="The terms of the training photos may bind users of the weights; for other than "
        "research use, judge this yourself or ask the authors",
    ),
    input_size=(112, 96),
    colour="rgb",
    mean=(127.5, 127.5, 127.5),
    std=(127.5, 127.5, 127.5),
    template="deepface-emd-96x112",
    embedding_size=512,
    grid=(7, 6),
    channels=512,
    defaults=PAPER_DEFAULTS,
)

_STAGES = ((3, 64, 1), (64, 128, 2), (128, 256, 4), (256, 512, 1))  # inputs, outputs, blocks


def _describe(graph: GraphBuilder) -> None:
    value = "image"
    for stage, (inputs, outputs, blocks) in enumerate(_STAGES, start=1):
        name = f"layer{stage}"
        value = graph.convolve(value, f"{name}.0", inputs, outputs, stride=2, padding=1, bias=True)
        value = graph.prelu(value, f"{name}.1", outputs)
        for block in range(2, 2 + blocks):
            inner = value
            for half in (1, 2):
                inner = graph.convolve(
                    inner, f"{name}.{block}.conv{half}", outputs, outputs, padding=1
                )
                inner = graph.prelu(inner, f"{name}.{block}.prelu{half}", outputs)
            value = graph.add("Add", value, inner)
    patches = graph.add("Identity", value, output="patches")
    graph.linear(graph.add("Flatten", patches), "fc", 512 * 7 * 6, 512)


ARCHITECTURE = Architecture(
    title="CosFace sphere20",
    image=(3, 112, 96),
    outputs={"embedding": (512,), "patches": (512, 7, 6)},
    describe=_describe,
)
MODEL = ARCHITECTURE.model(SPEC)
