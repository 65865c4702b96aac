"""FaceNet's Inception-ResNet-v1 (the paper's third network): terms, both preprocessings, layers.

The graph's embedding is the one before the last step of the published network, which scales it
to length 1: faceflow does that to every embedding. ``networks/torch/facenet.py`` holds the same
layers for PyTorch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from faceflow.networks.architecture import Architecture
from faceflow.networks.graph_builder import GraphBuilder
from faceflow.networks.spec import PAPER_DEFAULTS, NetworkSpec
from faceflow.weights import CheckpointFile, Licence

SPEC = NetworkSpec(
    name="facenet",
    title="FaceNet Inception-ResNet-v1, 23.5 M parameters, 160x160 RGB, 3x3 patches",
    source=CheckpointFile(
        file_name="20180402-114759-vggface2.pt",
        size=112_000_000,  # its README says 107 MB, which are 2**20 bytes by its tensors
        upstream="facenet-pytorch by Tim Esler, converted from David Sandberg's facenet",
        where="the release v2.2.9 of github.com/timesler/facenet-pytorch",
        url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
        "20180402-114759-vggface2.pt",
    ),
    licence=Licence(
        code="faceflow's own implementation; facenet-pytorch and facenet are MIT",
        weights="MIT if the two repositories' licences cover them, which they do not say",
        training_data="VGGFace2, a set for research only",
        note="The terms of the training photos may bind users of the weights; for other than "
        "research use, judge this yourself or ask the authors",
    ),
    input_size=(160, 160),
    colour="rgb",
    # As it was trained: (x - 127.5) / 128.
    mean=(127.5, 127.5, 127.5),
    std=(128.0, 128.0, 128.0),
    template="deepface-emd-160",
    embedding_size=512,
    grid=(3, 3),
    channels=1792,
    defaults=PAPER_DEFAULTS,
)
PAPER = replace(
    SPEC,
    name="facenet-paper",
    title="FaceNet fed with pixels in 0..1, as the paper's code does",
    mean=(0.0, 0.0, 0.0),
    std=(255.0, 255.0, 255.0),
    model=SPEC.name,
)

_EPSILON = 1e-3


def _describe(graph: GraphBuilder) -> None:
    value = _layer(graph, "image", "conv2d_1a", 3, 32, 3, stride=2)
    value = _layer(graph, value, "conv2d_2a", 32, 32, 3)
    value = _layer(graph, value, "conv2d_2b", 32, 64, 3, padding=1)
    value = graph.max_pool(value, 3, 2)
    value = _layer(graph, value, "conv2d_3b", 64, 80, 1)
    value = _layer(graph, value, "conv2d_4a", 80, 192, 3)
    value = _layer(graph, value, "conv2d_4b", 192, 256, 3, stride=2)
    for block in range(5):
        value = _block35(graph, value, f"repeat_1.{block}")
    value = _mixed_6a(graph, value)
    for block in range(10):
        value = _cross(graph, value, f"repeat_2.{block}", 896, 128, 7, 0.10)
    value = _mixed_7a(graph, value)
    for block in range(5):
        value = _cross(graph, value, f"repeat_3.{block}", 1792, 192, 3, 0.20)
    value = _cross(graph, value, "block8", 1792, 192, 3, 1.0, relu=False)
    patches = graph.add("Identity", value, output="patches")
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", patches))
    graph.linear(pooled, "last_linear", 1792, 512, bias=False, norm="last_bn", epsilon=_EPSILON)


def _layer(
    graph: GraphBuilder,
    value: str,
    name: str,
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    **options: Any,
) -> str:
    convolved = graph.convolve(
        value,
        f"{name}.conv",
        inputs,
        outputs,
        kernel,
        norm=f"{name}.bn",
        epsilon=_EPSILON,
        **options,
    )
    return graph.add("Relu", convolved)


def _join(
    graph: GraphBuilder,
    value: str,
    branches: list[str],
    name: str,
    inputs: int,
    outputs: int,
    scale: float,
    *,
    relu: bool = True,
) -> str:
    """Branches side by side, a 1x1 convolution, scaled and added to the block's input."""
    joined = graph.convolve(
        graph.concatenate(branches), f"{name}.conv2d", inputs, outputs, 1, bias=True, scale=scale
    )
    total = graph.add("Add", value, joined)
    return graph.add("Relu", total) if relu else total


def _block35(graph: GraphBuilder, value: str, name: str) -> str:
    first = _layer(graph, value, f"{name}.branch0", 256, 32, 1)
    second = _layer(graph, value, f"{name}.branch1.0", 256, 32, 1)
    second = _layer(graph, second, f"{name}.branch1.1", 32, 32, 3, padding=1)
    third = _layer(graph, value, f"{name}.branch2.0", 256, 32, 1)
    third = _layer(graph, third, f"{name}.branch2.1", 32, 32, 3, padding=1)
    third = _layer(graph, third, f"{name}.branch2.2", 32, 32, 3, padding=1)
    return _join(graph, value, [first, second, third], name, 96, 256, 0.17)


def _cross(
    graph: GraphBuilder,
    value: str,
    name: str,
    channels: int,
    width: int,
    length: int,
    scale: float,
    *,
    relu: bool = True,
) -> str:
    """Block17 and Block8: a 1x1 branch, and one with a row and a column convolution."""
    half = length // 2
    first = _layer(graph, value, f"{name}.branch0", channels, width, 1)
    second = _layer(graph, value, f"{name}.branch1.0", channels, width, 1)
    second = _layer(
        graph, second, f"{name}.branch1.1", width, width, (1, length), padding=(0, half)
    )
    second = _layer(
        graph, second, f"{name}.branch1.2", width, width, (length, 1), padding=(half, 0)
    )
    return _join(graph, value, [first, second], name, 2 * width, channels, scale, relu=relu)


def _mixed_6a(graph: GraphBuilder, value: str) -> str:
    first = _layer(graph, value, "mixed_6a.branch0", 256, 384, 3, stride=2)
    second = _layer(graph, value, "mixed_6a.branch1.0", 256, 192, 1)
    second = _layer(graph, second, "mixed_6a.branch1.1", 192, 192, 3, padding=1)
    second = _layer(graph, second, "mixed_6a.branch1.2", 192, 256, 3, stride=2)
    return graph.concatenate([first, second, graph.max_pool(value, 3, 2)])


def _mixed_7a(graph: GraphBuilder, value: str) -> str:
    name = "mixed_7a"
    first = _layer(graph, value, f"{name}.branch0.0", 896, 256, 1)
    first = _layer(graph, first, f"{name}.branch0.1", 256, 384, 3, stride=2)
    second = _layer(graph, value, f"{name}.branch1.0", 896, 256, 1)
    second = _layer(graph, second, f"{name}.branch1.1", 256, 256, 3, stride=2)
    third = _layer(graph, value, f"{name}.branch2.0", 896, 256, 1)
    third = _layer(graph, third, f"{name}.branch2.1", 256, 256, 3, padding=1)
    third = _layer(graph, third, f"{name}.branch2.2", 256, 256, 3, stride=2)
    return graph.concatenate([first, second, third, graph.max_pool(value, 3, 2)])


ARCHITECTURE = Architecture(
    title="FaceNet Inception-ResNet-v1",
    image=(3, 160, 160),
    outputs={"embedding": (512,), "patches": (1792, 3, 3)},
    describe=_describe,
)
MODEL = ARCHITECTURE.model(SPEC)
