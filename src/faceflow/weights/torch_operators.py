"""The operators of ONNX graphs, in PyTorch: those of faceflow's networks and detectors.

Each takes the module ``torch``, the node's attributes and its inputs, and gives its output; inputs
that a node leaves out are None. What ONNX allows and no graph here uses is refused, never
approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Attributes = Mapping[str, Any]
Operator = Callable[[Any, Attributes, Sequence[Any]], Any]


class NotCoveredError(Exception):
    """A use of an operator that is not written here; the text says which."""


def _convolution(torch: Any, how: Attributes, given: Sequence[Any]) -> Any:
    value, weight, bias = (*given, None)[:3]
    _require_plain(how)
    return torch.nn.functional.conv2d(
        _padded(torch, value, how, 0.0),
        weight,
        bias,
        stride=how.get("strides", [1, 1]),
        dilation=how.get("dilations", [1, 1]),
        groups=how.get("group", 1),
    )


def _transposed_convolution(torch: Any, how: Attributes, given: Sequence[Any]) -> Any:
    value, weight, bias = (*given, None)[:3]
    _require_plain(how)
    top, left, bottom, right = how.get("pads", [0, 0, 0, 0])
    if (top, left) != (bottom, right) or "output_shape" in how:
        raise NotCoveredError("ConvTranspose with uneven padding")
    return torch.nn.functional.conv_transpose2d(
        value,
        weight,
        bias,
        stride=how.get("strides", [1, 1]),
        padding=(top, left),
        output_padding=how.get("output_padding", [0, 0]),
        groups=how.get("group", 1),
        dilation=how.get("dilations", [1, 1]),
    )


def _batch_normalisation(torch: Any, how: Attributes, given: Sequence[Any]) -> Any:
    value, scale, shift, mean, variance = given
    return torch.nn.functional.batch_norm(
        value, mean, variance, scale, shift, False, 0.0, how.get("epsilon", 1e-5)
    )


def _largest_of_pool(torch: Any, how: Attributes, given: Sequence[Any]) -> Any:
    _require_plain(how)
    return torch.nn.functional.max_pool2d(
        _padded(torch, given[0], how, float("-inf")),
        how["kernel_shape"],
        how.get("strides", [1, 1]),
        dilation=how.get("dilations", [1, 1]),
        ceil_mode=bool(how.get("ceil_mode", 0)),
    )


def _mean_of_pool(torch: Any, how: Attributes, given: Sequence[Any]) -> Any:
    _require_plain(how)
    if any(how.get("pads", ())):
        raise NotCoveredError("AveragePool with padding")
    return torch.nn.functional.avg_pool2d(
        given[0],
        how["kernel_shape"],
        how.get("strides", [1, 1]),
        ceil_mode=bool(how.get("ceil_mode", 0)),
    )


def _mean_of_all(_: Any, how: Attributes, given: Sequence[Any]) -> Any:
    return given[0].mean(dim=(2, 3), keepdim=True)


def _linear(_: Any, how: Attributes, given: Sequence[Any]) -> Any:
    a, b, c = (*given, None)[:3]
    a = a.T if how.get("transA", 0) else a
    b = b.T if how.get("transB", 0) else b
    product = how.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + how.get("beta", 1.0) * c


def _leaky(torch: Any, _: Attributes, given: Sequence[Any]) -> Any:
    value, slope = given
    return torch.where(value < 0, slope * value, value)


def _flat(_: Any, how: Attributes, given: Sequence[Any]) -> Any:
    if how.get("axis", 1) != 1:
        raise NotCoveredError("Flatten on another axis than 1")
    return given[0].flatten(1)


def _squeezed(_: Any, how: Attributes, given: Sequence[Any]) -> Any:
    axes = given[1].tolist() if len(given) > 1 else how.get("axes")
    if axes is None:
        raise NotCoveredError("Squeeze without axes")
    return given[0].squeeze(tuple(axes))


def _turned(_: Any, how: Attributes, given: Sequence[Any]) -> Any:
    return given[0].permute(*how["perm"]).contiguous()


OPERATORS: Mapping[str, Operator] = {
    "Add": lambda _, __, given: given[0] + given[1],
    "AveragePool": _mean_of_pool,
    "BatchNormalization": _batch_normalisation,
    "Concat": lambda torch, how, given: torch.cat(list(given), dim=how["axis"]),
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Flatten": _flat,
    "Gemm": _linear,
    "GlobalAveragePool": _mean_of_all,
    "Identity": lambda _, __, given: given[0],
    "MaxPool": _largest_of_pool,
    "Mul": lambda _, __, given: given[0] * given[1],
    "PRelu": _leaky,
    "Relu": lambda torch, _, given: torch.relu(given[0]),
    "Sigmoid": lambda torch, _, given: torch.sigmoid(given[0]),
    "Squeeze": _squeezed,
    "Transpose": _turned,
}


def _padded(torch: Any, value: Any, how: Attributes, filling: float) -> Any:
    pads = how.get("pads", [0, 0, 0, 0])
    if not any(pads):
        return value
    top, left, bottom, right = pads
    return torch.nn.functional.pad(value, (left, right, top, bottom), value=filling)


def _require_plain(how: Attributes) -> None:
    way = how.get("auto_pad", b"NOTSET")
    if way not in (b"NOTSET", b"VALID") or len(how.get("kernel_shape", (1, 1))) != 2:
        raise NotCoveredError("padding that follows the size, or other than two dimensions")
