"""An ONNX graph run by PyTorch: for devices that ONNX Runtime does not reach here.

The graph is the one that ONNX Runtime runs, with the same folded weights, so that nothing is read
from another place; it offers what is used of an ``InferenceSession``. Full float32, as on the CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceflow.errors import DeviceError
from faceflow.weights import pytorch
from faceflow.weights.torch_operators import OPERATORS, Attributes, NotCoveredError

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Input:
    """What a graph takes: a name, and a shape with names where a size is free."""

    name: str
    shape: list[int | str]


@dataclass(frozen=True, slots=True)
class _Step:
    operator: str
    attributes: Attributes
    inputs: tuple[str, ...]
    output: str
    last_use: tuple[str, ...]  # values that nobody reads after this step


class TorchSession:
    """A graph ready to run on a device of PyTorch.

    Args:
        graph: ONNX bytes.
        device: "cuda", "cuda:1", "mps" or "cpu".
        name: what errors call the model.

    Raises:
        MissingExtraError: PyTorch is not installed.
        DeviceError: it does not see the device, or the graph has an operator that is not among
            :data:`faceflow.weights.torch_operators.OPERATORS`.
    """

    def __init__(self, graph: bytes, device: str, name: str = "model") -> None:
        import onnx

        self._torch = pytorch.require(device)
        self._device = self._torch.device(device)
        self._name = name
        model = onnx.load_from_string(graph).graph
        self._constants = {
            tensor.name: self._moved(onnx.numpy_helper.to_array(tensor))
            for tensor in model.initializer
        }
        self._inputs = [
            Input(
                value.name, [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]
            )
            for value in model.input
            if value.name not in self._constants
        ]
        self._outputs = [value.name for value in model.output]
        unknown = sorted({node.op_type for node in model.node} - OPERATORS.keys())
        if unknown:
            raise self._refused(f"PyTorch runs no {', '.join(unknown)} here")
        self._steps = _steps(model.node, {*self._outputs, *self._constants})

    def get_inputs(self) -> list[Input]:
        """What the graph takes, without what it holds itself."""
        return self._inputs

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Any]:
        """The named outputs, or all, for the named inputs, as arrays."""
        torch, cudnn = self._torch, self._torch.backends.cudnn
        values = {name: self._moved(array) for name, array in inputs.items()}
        # Full float32, and the same way of summing in every run. The flags are the process's, so
        # another thread's run must not put them back meanwhile.
        exact = cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        with _ONE_AT_A_TIME, torch.inference_mode(), exact:
            for step in self._steps:
                given = [self._value(values, one) for one in step.inputs]
                try:
                    values[step.output] = OPERATORS[step.operator](torch, step.attributes, given)
                except NotCoveredError as error:
                    raise self._refused(f"PyTorch runs no {error} here") from error
                for one in step.last_use:
                    values.pop(one, None)
            return [values[name].cpu().numpy() for name in outputs or self._outputs]

    def _value(self, values: Mapping[str, Any], name: str) -> Any:
        if not name:  # an input that was left out
            return None
        return values[name] if name in values else self._constants[name]

    def _moved(self, array: Any) -> Any:
        # PyTorch warns of arrays that may not be written.
        own = np.require(array, requirements=["C", "W"])
        return self._torch.from_numpy(own).to(self._device)

    def _refused(self, why: str) -> DeviceError:
        return DeviceError(
            f"{self._name} does not run on {self._device}",
            why=why,
            todo="install ONNX Runtime's GPU build (`faceflow doctor` says how), or use the "
            "device cpu",
        )


def _steps(nodes: Any, kept: set[str]) -> list[_Step]:
    import onnx

    last: dict[str, int] = {}
    for number, node in enumerate(nodes):
        last |= dict.fromkeys(node.input, number)
    return [
        _Step(
            node.op_type,
            {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute},
            tuple(node.input),
            node.output[0],
            tuple(one for one in set(node.input) if last[one] == number and one not in kept),
        )
        for number, node in enumerate(nodes)
    ]
