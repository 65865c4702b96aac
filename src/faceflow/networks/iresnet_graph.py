"""IResNet-50 and -100 as ONNX graphs; ``networks/torch/iresnet.py`` is the same in PyTorch."""

from __future__ import annotations

from functools import partial

from faceflow.networks.graph_builder import Architecture, GraphBuilder

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
    return graph.add("Add", inner, value)


def _architecture(title: str, blocks: tuple[int, ...]) -> Architecture:
    return Architecture(
        title=title,
        image=(3, 112, 112),
        outputs={"embedding": (512,), "patches": (512, 7, 7)},
        describe=partial(_describe, blocks),
    )


IRESNET50 = _architecture("IResNet-50", (3, 4, 14, 3))
IRESNET100 = _architecture("IResNet-100", (3, 13, 30, 3))
ARCHITECTURES = {"iresnet50": IRESNET50, "iresnet100": IRESNET100}
