"""Train a network's last layer alone, on raw patch maps that are computed once.

The embedding of a face is ``W x + b`` with x its raw patch map. Only W and b change: they start
as published, learn by ArcFace over the training people's clean and covered faces, and are pulled
back to the start at every step, because a few thousand faces say little about millions of
weights. People set apart, none of them trained on, decide when to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from faceflow.arrays import Bools, Float32, Floats, Int64
from faceflow.errors import InputError
from faceflow.training.adam import Adam, rms
from faceflow.training.loss import arcface
from faceflow.training.recipe import HeadRecipe
from faceflow.training.samples import Samples
from faceflow.training.split import first_choices, validation_people

_LEAST_PEOPLE = 2


@dataclass(frozen=True, slots=True)
class HeadEpoch:
    """One epoch; epoch 0 is the published layer.

    Attributes:
        epoch: its number.
        loss: mean ArcFace loss of its batches (NaN for epoch 0).
        covered: P@1 of the covered faces of people set apart.
        clean: P@1 of their clean faces.
        margin: mean margin of their covered faces, see ``split.first_choices``.
        drift: distance of W from the published W, in shares of the published W's length.
        seconds: since the start.
    """

    epoch: int
    loss: float
    covered: float
    clean: float
    margin: float
    drift: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """The best layer and how it came about.

    Attributes:
        weight: (D, C * h * w) float32, channels first.
        bias: (D,) float32.
        best: the epoch they are from; 0: nothing was better than the published layer.
        history: all epochs, the published layer first.
        people, faces: how many were trained on.
        validation_people, validation_queries: how many judged.
    """

    weight: Float32
    bias: Float32
    best: int
    history: tuple[HeadEpoch, ...]
    people: int
    faces: int
    validation_people: int
    validation_queries: int


class Validation:
    """Covered and clean photos of people set apart against one clean photo of each.

    The gallery holds the first clean photo of every person set apart; the queries are their
    other photos, so no query meets its own photo.

    Raises:
        InputError: fewer than two such people, or no covered query.
    """

    def __init__(self, samples: Samples) -> None:
        first: dict[int, int] = {}
        for person, photo, covered in zip(
            samples.person, samples.photo, samples.covered, strict=True
        ):
            if not covered:
                first[int(person)] = min(int(photo), first.get(int(person), int(photo)))
        enrolled = np.array([first.get(int(p), -1) for p in samples.person], np.int64)
        query = (samples.photo != enrolled) & (enrolled != -1)
        self.gallery = samples.select((samples.photo == enrolled) & ~samples.covered)
        self.queries = samples.select(query)
        self.people = len(np.unique(self.queries.person))
        if self.people < _LEAST_PEOPLE or not self.queries.covered.any():
            raise InputError(
                "There are too few people to judge the training by",
                why=f"{self.people} of those set apart have two photos or more in which a face "
                "was found, covered and not",
                todo="give more people with two photos or more, or a larger validation share",
            )

    def judge(self, weight: Floats, bias: Floats) -> tuple[float, float, float]:
        """P@1 covered, P@1 clean (NaN without clean queries), mean margin covered."""
        right, margin = first_choices(
            self.queries.embed(weight, bias),
            self.queries.person,
            self.gallery.embed(weight, bias),
            self.gallery.person,
        )
        covered = self.queries.covered
        clean = float(right[~covered].mean()) if (~covered).any() else float("nan")
        return float(right[covered].mean()), clean, float(margin[covered].mean())


def train_head(
    samples: Samples,
    weight: Floats,
    bias: Floats,
    recipe: HeadRecipe | None = None,
    *,
    progress: Callable[[HeadEpoch], None] | None = None,
) -> TrainedHead:
    """Fine-tune a last layer.

    Args:
        samples: clean and covered faces of the people to train and to judge with.
        weight: (D, C * h * w) the published layer, channels first.
        bias: (D,).
        recipe: how; None: the default one.
        progress: told after each epoch.

    Returns:
        The layer of the epoch with the best P@1 of covered validation queries; equal ones are
        told apart by the mean margin. The published layer counts as an epoch.

    Raises:
        InputError: too few people on either side, or sizes that disagree.
    """
    how = recipe or HeadRecipe()
    size = int(np.prod(samples.maps.shape[1:]))
    if weight.shape != (len(bias), size):
        raise InputError(
            f"the layer has shape {weight.shape}", why=f"maps of {size} numbers need (D, {size})"
        )
    apart = validation_people(samples.names, how.validation_share, seed=how.seed)
    judges = np.array([name in apart for name in samples.names], np.bool_)[samples.person]
    validation = Validation(samples.select(judges))
    learning, labels = _with_labels(samples.select(~judges))
    run = _Run(how, learning, labels, np.array(weight, np.float32), np.array(bias, np.float32))
    begin = time.perf_counter()
    history: list[HeadEpoch] = []
    best, best_weight, best_bias = 0, run.weight.copy(), run.bias.copy()
    for epoch in range(how.epochs + 1):
        loss = run.epoch(epoch) if epoch else float("nan")
        covered, clean, margin = validation.judge(run.weight, run.bias)
        seconds = time.perf_counter() - begin
        history.append(HeadEpoch(epoch, loss, covered, clean, margin, run.drift, seconds))
        if progress is not None:
            progress(history[-1])
        if (covered, margin) > (history[best].covered, history[best].margin):
            best, best_weight, best_bias = epoch, run.weight.copy(), run.bias.copy()
        if epoch - best >= how.patience:
            break
    return TrainedHead(
        best_weight,
        best_bias,
        best,
        tuple(history),
        people=run.people,
        faces=len(learning),
        validation_people=validation.people,
        validation_queries=len(validation.queries),
    )


def as_values(epoch: HeadEpoch) -> dict[str, float | int]:
    """An epoch as a line of a log."""
    return asdict(epoch)


def _with_labels(samples: Samples) -> tuple[Samples, Int64]:
    """The samples, and their people as 0..P-1."""
    people, labels = np.unique(samples.person, return_inverse=True)
    if len(people) < _LEAST_PEOPLE:
        raise InputError(
            f"There are too few people to train with: {len(people)}",
            why=f"at least {_LEAST_PEOPLE} are needed beside those set apart to judge",
            todo="give photos of more people, or a smaller validation share",
        )
    return samples, labels.astype(np.int64)


class _Run:
    """The layer, the people's centres and Adam's averages while they change."""

    def __init__(
        self, how: HeadRecipe, samples: Samples, labels: Int64, weight: Float32, bias: Float32
    ) -> None:
        self.weight, self.bias = weight, bias
        self._start = (weight.copy(), bias.copy())
        self._how, self._samples, self._labels = how, samples, labels
        self.people = int(labels.max()) + 1
        self._centres = self._first_centres(samples.covered)
        scale = how.step * rms(weight)
        self._adam = [
            Adam(self.weight, scale),
            Adam(self.bias, how.step * (rms(bias) or rms(weight))),
            Adam(self._centres, how.centre_step * rms(self._centres)),
        ]

    @property
    def drift(self) -> float:
        """See :class:`HeadEpoch`."""
        start = self._start[0]
        return float(np.linalg.norm(self.weight - start)) / max(float(np.linalg.norm(start)), 1e-12)

    def epoch(self, number: int) -> float:
        """One pass over the samples in an order of its own; returns the mean loss."""
        order = np.random.default_rng([self._how.seed, number]).permutation(len(self._samples))
        losses = []
        for start in range(0, len(order), self._how.batch_size):
            losses.append(self._step(order[start : start + self._how.batch_size]))
        return float(np.mean(losses))

    def _step(self, batch: Int64) -> float:
        flat = self._samples.flat(batch)
        embedding = flat @ self.weight.T + self.bias
        result = arcface(
            embedding, self._centres, self._labels[batch], s=self._how.s, m=self._how.m
        )
        gradients = (
            result.d_embedding.T @ flat,
            result.d_embedding.sum(axis=0),
            result.d_centres,
        )
        for adam, gradient in zip(self._adam, gradients, strict=True):
            adam.step(gradient)
        for value, start in zip((self.weight, self.bias), self._start, strict=True):
            value -= self._how.pull * (value - start)
        return result.loss

    def _first_centres(self, covered: Bools) -> Float32:
        """Each person's mean unit embedding by the published layer, of clean faces if any."""
        embedding = self._samples.embed(self.weight, self.bias)
        embedding /= np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
        # A covered face counts little: it only speaks for people without a clean one.
        share = np.where(covered, 1e-3, 1.0)[:, None]
        centres = np.zeros((self.people, embedding.shape[1]), np.float32)
        np.add.at(centres, self._labels, (embedding * share).astype(np.float32))
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        return centres
