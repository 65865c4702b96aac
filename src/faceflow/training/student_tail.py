"""A student's trained part in PyTorch: everything of a network from one of its parts on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from faceflow.arrays import Floats, Int64, UInt8
from faceflow.errors import InputError
from faceflow.networks import NetworkSpec
from faceflow.networks.runtime import scale_crops
from faceflow.training.recipe import StudentRecipe
from faceflow.weights import Tensors

_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
_EPSILON = 1e-12


class Divisible(Protocol):
    """A network that can be cut before each of its parts."""

    until: Callable[[Tensor, str], Tensor]
    since: Callable[[Tensor, str], tuple[Tensor, Tensor]]


def parts_of(model: nn.Module) -> tuple[str, ...]:
    """The parts a network can be cut before, in the order they run; the last is ``fc``."""
    return tuple(name for name, _ in model.named_children())


class FrozenPart:
    """The maps that a network's first parts make of aligned crops.

    Args:
        model: see :class:`Divisible`.
        part: the first part that does not belong to it.
        spec: says how crops are scaled.
        device: where it runs.
    """

    def __init__(
        self, model: nn.Module, part: str, spec: NetworkSpec, device: torch.device
    ) -> None:
        known = parts_of(model)
        if part not in known:
            raise InputError(
                f"{spec.name} has no part {part!r}", todo=f"choose from {', '.join(known)}"
            )
        self._model, self._part, self._spec, self._device = model, part, spec, device
        self.template = spec.template
        self.identity = f"before {part} {spec.digest}"
        height, width = spec.input_size
        self.shape: tuple[int, ...] = self(np.zeros((1, height, width, 3), np.uint8)).shape[1:]

    def __call__(self, crops: UInt8) -> Floats:
        """(n, H, W, 3) uint8 RGB -> (n, C, h, w) float32."""
        images = torch.from_numpy(scale_crops(self._spec, crops)).to(self._device)
        self._model.eval()
        with torch.no_grad():
            maps = cast("Divisible", self._model).until(images, self._part)
        result: Floats = maps.float().cpu().numpy()
        return result


class TailLearner:
    """Everything of a network from one part on, trained by Adam.

    Args:
        model: see :class:`Divisible`; what is before ``part`` stays as it is.
        part: the first part that is trained.
        how: learning rates, the loss's scale, clipping, precision.
        device: where it is trained.
    """

    def __init__(
        self, model: nn.Module, part: str, how: StudentRecipe, device: torch.device
    ) -> None:
        self._how, self._part, self._device = how, part, device
        self._model = model.to(device)
        parts = parts_of(model)
        trained = parts[parts.index(part) :]
        self._named: list[tuple[str, nn.Parameter]] = []
        self._rates: list[float] = []
        for name, parameter in model.named_parameters():
            top = name.partition(".")[0]
            parameter.requires_grad_(top in trained)
            if top in trained:
                self._named.append((name, parameter))
                self._rates.append(how.lr * (how.last_layer_share if top == "fc" else 1.0))
        self._start = [parameter.detach().clone() for _, parameter in self._named]
        self._optimiser = torch.optim.Adam(
            [
                {"params": [parameter], "lr": rate}
                for (_, parameter), rate in zip(self._named, self._rates, strict=True)
            ]
        )

    def embed(self, maps: Floats) -> Floats:
        """See :class:`faceflow.training.student.Learner`; in float32 whatever the recipe says."""
        self._model.eval()
        with torch.no_grad():
            result: Floats = self._embedding(maps).float().cpu().numpy()
        return result

    def step(self, maps: Floats, labels: Int64, targets: Floats, rate: float) -> float:
        """See :class:`faceflow.training.student.Learner`."""
        kind = _PRECISIONS[self._how.precision]
        self._model.eval()  # batch statistics and dropout stay as the teacher has them
        for group, size in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = size * rate
        self._optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, dtype=kind, enabled=kind is not None):
            embedding = self._embedding(maps)
        loss = answer_loss(
            embedding.float(),
            torch.from_numpy(np.asarray(targets, np.float32)).to(self._device),
            torch.from_numpy(labels).to(self._device),
            scale=self._how.scale,
            near=self._how.near,
        )
        loss.backward()
        nn.utils.clip_grad_norm_([p for _, p in self._named], self._how.clip)
        self._optimiser.step()
        return float(loss.detach())

    def towards(self, share: float) -> TailLearner:
        """See :class:`faceflow.training.student.Learner`."""
        mixed = TailLearner(copy.deepcopy(self._model), self._part, self._how, self._device)
        with torch.no_grad():
            for (_, value), (_, now), start in zip(
                mixed._named, self._named, self._start, strict=True
            ):
                value.copy_(start + share * (now - start))
        return mixed

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See :class:`faceflow.training.student.Learner`."""
        found: dict[str, NDArray[Any]] = {}
        for name, parameter in self._named:
            found[f"value.{name}"] = _array(parameter)
            for kind, value in self._optimiser.state[parameter].items():
                found[f"{kind}.{name}"] = _array(value)
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See :class:`faceflow.training.student.Learner`."""
        with torch.no_grad():
            for name, parameter in self._named:
                parameter.copy_(torch.from_numpy(arrays[f"value.{name}"].copy()))
                state = {
                    kind: torch.from_numpy(arrays[f"{kind}.{name}"].copy())
                    for kind in ("step", "exp_avg", "exp_avg_sq")
                    if f"{kind}.{name}" in arrays
                }
                if state:
                    moved = {k: v if k == "step" else v.to(self._device) for k, v in state.items()}
                    self._optimiser.state[parameter] = moved

    def tensors(self) -> Tensors:
        """The whole network's state dict."""
        return {name: _array(value) for name, value in self._model.state_dict().items()}

    def _embedding(self, maps: Floats) -> Tensor:
        values = torch.from_numpy(np.asarray(maps, np.float32)).to(self._device)
        return cast("Divisible", self._model).since(values, self._part)[0]


def answer_loss(
    embedding: Tensor, targets: Tensor, labels: Tensor, *, scale: float, near: float
) -> Tensor:
    """See :func:`faceflow.training.student_layer.answer_loss`, of which this is the twin."""
    cosine = functional.normalize(embedding, dim=1, eps=_EPSILON) @ targets.T
    own = cosine.gather(1, labels[:, None])[:, 0]
    return functional.cross_entropy(scale * cosine, labels) + near * (1 - own).mean()


def _array(value: Tensor) -> NDArray[Any]:
    return value.detach().cpu().numpy().copy()
