"""CosFace sphere20 as an ONNX graph; ``networks/torch/cosface.py`` is the same in PyTorch."""

from __future__ import annotations

from faceflow.networks.graph_builder import Architecture, GraphBuilder

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


COSFACE_SPHERE20 = Architecture(
    title="CosFace sphere20",
    image=(3, 112, 96),
    outputs={"embedding": (512,), "patches": (512, 7, 6)},
    describe=_describe,
)
