"""ArcFace ResNet-18 as an ONNX graph; ``networks/torch/arcface.py`` is the same in PyTorch."""

from __future__ import annotations

from faceflow.networks.graph_builder import Architecture, GraphBuilder

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
    if stride != 1:
        value = graph.convolve(
            value,
            f"{name}.downsample.0",
            inputs,
            outputs,
            1,
            stride=stride,
            norm=f"{name}.downsample.1",
        )
    return graph.prelu(graph.add("Add", inner, value), f"{name}.prelu", 1)


ARCFACE_RESNET18 = Architecture(
    title="ArcFace ResNet-18",
    image=(1, 128, 128),
    outputs={"embedding": (512,), "patches": (512, 8, 8), "patches-layer3": (256, 16, 16)},
    describe=_describe,
)
