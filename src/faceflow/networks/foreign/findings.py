"""What an inspection found, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from faceflow.features import Grid

Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True, slots=True)
class Patches:
    """A tensor that could serve as the patch grid.

    Attributes:
        tensor: its name.
        made_by: the operator that makes it.
        channels: C.
        grid: (h, w).
        layout: the order of its axes, "nchw" or "nhwc".
        between: the operators from it to the embedding, in order.
        linear: whether the embedding is a linear layer of these patches (with a constant);
            None when the embedding also depends on the photo beside them.
    """

    tensor: str
    made_by: str
    channels: int
    grid: Grid
    layout: Layout
    between: tuple[str, ...]
    linear: bool | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an ONNX file holds.

    Attributes:
        name: the file's name.
        sha256: hex sha256 of the file.
        inputs, outputs: (name, sizes) each, as the file says; a text stands for a free axis.
        input_size: (H, W) of the crop; 112 x 112 where the file leaves it free.
        input_channels: 3, or 1 for grey.
        input_layout: the order of the input's axes.
        fixed_size: whether the file says H and W.
        batch: the number of crops it is run on at a time, None for any.
        freed: whether the file fixes that number, and its graph was rewritten to take any.
        scales_itself: whether the graph begins by scaling its input with constants.
        embeddings: (name, D) of the outputs that may be the embedding, likeliest first.
        patches: where the patches may be, likeliest first; of the first embedding.
    """

    name: str
    sha256: str
    inputs: tuple[tuple[str, tuple[int | str, ...]], ...]
    outputs: tuple[tuple[str, tuple[int | str, ...]], ...]
    input_size: tuple[int, int]
    input_channels: int
    input_layout: Layout
    fixed_size: bool
    batch: int | None
    freed: bool
    scales_itself: bool
    embeddings: tuple[tuple[str, int], ...]
    patches: tuple[Patches, ...]


def from_values(values: Mapping[str, Any]) -> Inspection:
    """An inspection of its fields as JSON gives them back."""
    patches = [
        Patches(**one | {"grid": tuple(one["grid"]), "between": tuple(one["between"])})
        for one in values["patches"]
    ]
    changed: dict[str, Any] = {
        "inputs": tuple((name, tuple(sizes)) for name, sizes in values["inputs"]),
        "outputs": tuple((name, tuple(sizes)) for name, sizes in values["outputs"]),
        "input_size": tuple(values["input_size"]),
        "embeddings": tuple((name, size) for name, size in values["embeddings"]),
        "patches": tuple(patches),
    }
    return Inspection(**{**values, **changed})
