"""A student's last layer alone, in NumPy: for any network that has one on its patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Float32, Floats, Int64
from faceflow.training.adam import Adam, rms
from faceflow.training.loss import through_unit, unit_and_length
from faceflow.training.recipe import StudentRecipe
from faceflow.weights import Tensors

WEIGHT, BIAS = "fc.weight", "fc.bias"


class Answer(NamedTuple):
    """A batch's loss and where it falls: its gradient (N, D) by the embeddings."""

    loss: float
    d_embedding: Float32


def answer_loss(
    embedding: Floats, targets: Floats, labels: Int64, *, scale: float, near: float
) -> Answer:
    """How far embeddings are from where the teacher would have them.

    With c_j the cosine of a face's embedding to target j and y its own person, the mean over the
    batch of ``-log softmax(scale c)_y + near (1 - c_y)``.

    Args:
        embedding: (N, D), any length but zero.
        targets: (P, D) unit rows.
        labels: (N,) the row of ``targets`` each belongs to.
        scale: of the cosines in the cross-entropy.
        near: weight of the second part.
    """
    rows = np.arange(len(labels))
    unit, length = unit_and_length(embedding)
    cosine = unit @ targets.T
    own = cosine[rows, labels]
    logits = scale * cosine
    logits -= logits.max(axis=1, keepdims=True)
    share = np.exp(logits)
    total = share.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - logits[rows, labels] + near * (1 - own)))
    share /= total
    share[rows, labels] -= 1
    d_cosine = share * scale
    d_cosine[rows, labels] -= near
    return Answer(loss, through_unit(d_cosine @ targets / len(labels), unit, length))


class LayerLearner:
    """The layer ``W x + b`` on the flattened patch map, trained by Adam.

    Args:
        weight: (D, C * h * w) the teacher's, channels first.
        bias: (D,).
        how: the step, the loss's scale, clipping.
    """

    def __init__(self, weight: Floats, bias: Floats, how: StudentRecipe) -> None:
        self._how = how
        self._values = {
            WEIGHT: np.array(weight, np.float32),
            BIAS: np.array(bias, np.float32),
        }
        self._start = {name: value.copy() for name, value in self._values.items()}
        step = how.layer_step * rms(weight)
        self._adam = {name: Adam(value, step) for name, value in self._values.items()}

    def embed(self, maps: Floats) -> Floats:
        """See :class:`faceflow.training.student.Learner`."""
        flat = maps.reshape(len(maps), -1)
        return np.asarray(flat @ self._values[WEIGHT].T + self._values[BIAS])

    def step(self, maps: Floats, labels: Int64, targets: Floats, rate: float) -> float:
        """See :class:`faceflow.training.student.Learner`."""
        how = self._how
        result = answer_loss(self.embed(maps), targets, labels, scale=how.scale, near=how.near)
        gradients = {
            WEIGHT: result.d_embedding.T @ maps.reshape(len(maps), -1),
            BIAS: result.d_embedding.sum(axis=0),
        }
        length = np.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
        shorter = np.float32(min(1.0, how.clip / max(length, 1e-12)))
        for name, gradient in gradients.items():
            self._adam[name].step(gradient * shorter, rate)
        return result.loss

    def towards(self, share: float) -> LayerLearner:
        """See :class:`faceflow.training.student.Learner`."""
        mixed = {
            name: start + np.float32(share) * (self._values[name] - start)
            for name, start in self._start.items()
        }
        return LayerLearner(mixed[WEIGHT], mixed[BIAS], self._how)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See :class:`faceflow.training.student.Learner`."""
        found: dict[str, NDArray[Any]] = {}
        for name, value in self._values.items():
            found[f"value.{name}"] = value
            found |= {f"{kind}.{name}": a for kind, a in self._adam[name].arrays().items()}
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """See :class:`faceflow.training.student.Learner`."""
        for name, value in self._values.items():
            value[...] = arrays[f"value.{name}"]
            kinds = self._adam[name].arrays()
            self._adam[name].restore({kind: arrays[f"{kind}.{name}"] for kind in kinds})

    def tensors(self) -> Tensors:
        """Weight and bias."""
        return dict(self._values)
