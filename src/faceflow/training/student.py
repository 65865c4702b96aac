"""Train a student: a network that answers to a covered face as its teacher does to the clean one.

The teacher is frozen, and so is the first part of the student, whose maps of every photo, clean
and under covers drawn at random, are computed once. What is behind them learns to put a covered
face where the teacher puts the first clean photo of the same person: nearest to it among all
people trained on (cross-entropy), and near it (one less the cosine). So the teacher's galleries
take the student's queries, and nobody is enrolled anew.

All that is random is a function of seed, epoch and step: a run that was killed goes on as if
nothing had happened, bit for bit on a CPU with one number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Bools, Float32, Floats, Int64, unit
from faceflow.errors import FaceflowError, InputError
from faceflow.training import array_file
from faceflow.training.log import CsvLog
from faceflow.training.recipe import StudentRecipe
from faceflow.training.samples import Samples
from faceflow.training.split import first_choices, validation_people
from faceflow.weights import Tensors

_BLOCK = 64  # maps embedded at a time
_NUMBERS = ("loss", "covered", "clean", "margin", "faces_per_second")


class Network(Protocol):
    """The part of a network behind the maps."""

    def embed(self, maps: Floats) -> Floats:
        """(n, C, h, w) maps -> (n, D) embeddings of any length, as it is now."""

    def tensors(self) -> Tensors:
        """What it has learned, by name."""


class Learner(Network, Protocol):
    """One that is trained."""

    def towards(self, share: float) -> Network:
        """The network at a share of the way from where it began to where it is now."""

    def step(self, maps: Floats, labels: Int64, targets: Floats, rate: float) -> float:
        """One step of the optimiser.

        Args:
            maps: (n, C, h, w).
            labels: (n,) the row of ``targets`` that each belongs to.
            targets: (P, D) unit rows, the teacher's.
            rate: share of the recipe's learning rate, below 1 while warming up.

        Returns:
            The mean loss of the batch before the step.
        """

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that decides how it goes on."""

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on where :meth:`arrays` were taken; where it began stays."""


@dataclass(frozen=True, slots=True)
class StudentEpoch:
    """One pass over the samples; epoch 0 is the teacher.

    Attributes:
        epoch: its number.
        loss: mean loss of its steps (NaN for epoch 0).
        covered: P@1 of the covered faces of people set apart, among one clean photo of each of
            them as the teacher sees it.
        clean: P@1 of their other clean photos; NaN where there are none.
        margin: mean margin of the covered ones, see ``split.first_choices``.
        faces_per_second: trained on, since the start or resumption of the epoch.
    """

    epoch: int
    loss: float
    covered: float
    clean: float
    margin: float
    faces_per_second: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainedStudent:
    """The best student and how it came about.

    Attributes:
        tensors: of the part that was trained.
        best: the epoch it is from; 0: none was better than the teacher.
        history: all epochs, the teacher first.
        losses: of every step.
        people, faces: how many were trained on.
        validation_people: how many judged.
    """

    tensors: Tensors
    best: int
    history: tuple[StudentEpoch, ...]
    losses: tuple[float, ...]
    people: int
    faces: int
    validation_people: int


def train_student(
    samples: Samples,
    learner: Learner,
    folder: Path,
    recipe: StudentRecipe | None = None,
    *,
    network: str = "",
    save_every: int = 100,
    progress: Callable[[int, int, float], None] | None = None,
    told: Callable[[StudentEpoch], None] | None = None,
) -> TrainedStudent:
    """Train, or go on with the run in ``folder``.

    Args:
        samples: maps of the people to train and to judge with, each with a clean face. Where
            nobody is named, every photo is a person of its own.
        learner: begins as the teacher; changed in place.
        folder: of this run. A run that is found there goes on.
        recipe: how; None: the default one.
        network: the teacher's digest, so that no run goes on with another's.
        save_every: steps between checkpoints, besides those at each epoch's end.
        progress: told (steps done, steps in all, loss) after each step.
        told: told the teacher and each finished epoch; of a run that goes on, the last.

    Returns:
        The student of the epoch with the best P@1 of covered faces of people set apart, of those
        that lose no more of the clean ones than the recipe lets them; equal ones are told apart by
        the mean margin. The teacher counts as an epoch.

    Raises:
        InputError: too few people, or ``folder`` holds another run.
        FaceflowError: the loss is not finite, or a checkpoint cannot be read or written.
    """
    how = recipe or StudentRecipe()
    run = _Run(samples, learner, folder, how, network, save_every)
    write = CsvLog(folder / "log.csv")
    for epoch in run.history:  # a resumed run's log is written anew
        write(asdict(epoch))
    if told is not None:
        told(run.history[-1])
    while not run.finished:
        run.epoch_of_training(progress)
        write(asdict(run.history[-1]))
        if told is not None:
            told(run.history[-1])
    return run.result()


class _Judge:
    """People set apart: the teacher's clean face of each enrolled, all their others asked."""

    def __init__(self, samples: Samples, first: Int64, apart: Bools, teacher: Network) -> None:
        enrolled = np.flatnonzero(apart & (first == np.arange(len(first))))
        self.people = len(enrolled)
        asked = apart & (first >= 0)
        own = _photos_of_their_own(samples)
        # A person's own enrolled photo asks only where there is no other photo of anybody.
        asked &= samples.covered if own else samples.photo != samples.photo[first]
        self._asked = samples.select(asked)
        if self.people < 2 or not self._asked.covered.any():
            raise InputError(
                "There are too few people to judge the training by",
                why=f"{self.people} of those set apart show a clean face, and "
                f"{int(self._asked.covered.sum())} covered ones are to be asked",
                todo="give more people with two photos or more, or a larger validation share",
            )
        self._people = samples.person[enrolled]
        self._gallery = embed(teacher, samples, enrolled)

    def __call__(self, network: Network) -> tuple[float, float, float]:
        """P@1 covered, P@1 clean, mean margin covered."""
        asked = self._asked
        found = embed(network, asked, np.arange(len(asked)))
        right, margin = first_choices(found, asked.person, self._gallery, self._people)
        covered = asked.covered
        clean = float(right[~covered].mean()) if not covered.all() else float("nan")
        return float(right[covered].mean()), clean, float(margin[covered].mean())


class _Run:
    """A run under way: all that a checkpoint keeps, and how it goes on."""

    def __init__(
        self,
        samples: Samples,
        learner: Learner,
        folder: Path,
        how: StudentRecipe,
        network: str,
        save_every: int,
    ) -> None:
        self._how, self._learner, self._folder = how, learner, folder
        self._samples, self._save_every = samples, save_every
        first = first_clean(samples)
        names = validation_people(samples.names, how.validation_share, seed=how.seed)
        apart = np.array([name in names for name in samples.names], np.bool_)[samples.person]
        self._judge = _Judge(samples, first, apart, learner)
        self._chosen = np.flatnonzero(~apart & (first >= 0))
        people, labels = np.unique(samples.person[self._chosen], return_inverse=True)
        self._people = len(people)
        self.steps = len(self._chosen) // how.batch_size
        if self._people < 2 or not self.steps:
            raise InputError(
                f"There is too little to train with: {len(self._chosen)} faces of "
                f"{self._people} people",
                why=f"2 people and {how.batch_size} faces are needed beside those set apart",
                todo="give more photos, or a smaller batch_size in the recipe",
            )
        self._labels = labels.astype(np.int64)
        self._name = array_file.identity(
            asdict(how), network, samples.names, samples.person.tolist(), samples.row.tolist()
        )
        self._targets = self._teach(first)
        self.history: list[StudentEpoch] = []
        self._losses: list[float] = []
        self._step = 0  # steps done in the epoch under way
        self._best: Tensors = {}
        if not self._resume():
            self._end_epoch(float("nan"), 0.0)

    @property
    def best(self) -> int:
        """Number of the best epoch so far."""
        least = self.history[0].clean - self._how.clean_loss
        kept = [n for n, one in enumerate(self.history) if not one.clean < least]  # NaN is kept
        return max(kept, key=lambda n: (self.history[n].covered, self.history[n].margin, -n))

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        done = len(self.history) - 1
        return done >= self._how.epochs or done - self.best >= self._how.patience

    def epoch_of_training(self, progress: Callable[[int, int, float], None] | None) -> None:
        """Finish the epoch under way."""
        begun, begin = self._step, time.perf_counter()
        for batch in self._batches(len(self.history), begun):
            done = len(self._losses) + 1
            rate = min(1.0, done / self._how.warm_up)
            maps = _maps(self._samples, self._chosen[batch])
            loss = self._learner.step(maps, self._labels[batch], self._targets, rate)
            if not np.isfinite(loss):
                raise FaceflowError(
                    f"The loss of step {self._step + 1} in epoch {len(self.history)} is {loss}",
                    why="the training has diverged",
                    todo="use a smaller lr in the recipe",
                )
            self._losses.append(loss)
            self._step += 1
            if progress is not None:
                progress(done, self._how.epochs * self.steps, loss)
            if self._step % self._save_every == 0 and self._step < self.steps:
                self._save()
        seconds = max(time.perf_counter() - begin, 1e-9)
        seen = (self.steps - begun) * self._how.batch_size
        self._step = 0
        self._end_epoch(float(np.mean(self._losses[-self.steps :])), seen / seconds)

    def result(self) -> TrainedStudent:
        """The best student."""
        return TrainedStudent(
            self._best,
            self.best,
            tuple(self.history),
            tuple(self._losses),
            self._people,
            len(self._chosen),
            self._judge.people,
        )

    def _batches(self, epoch: int, first: int) -> Iterator[Int64]:
        """Indices into the chosen samples; those left over wait for the next epoch's order."""
        order = np.random.default_rng([self._how.seed, epoch]).permutation(len(self._chosen))
        size = self._how.batch_size
        for step in range(first, self.steps):
            yield order[step * size : (step + 1) * size]

    def _teach(self, first: Int64) -> Float32:
        """(P, D) where the teacher puts the first clean photo of each person."""
        places = np.zeros(self._people, np.int64)
        places[self._labels] = first[self._chosen]
        return unit(embed(self._learner, self._samples, places))

    def _end_epoch(self, loss: float, speed: float) -> None:
        network = self._learner.towards(self._how.share)
        covered, clean, margin = self._judge(network)
        self.history.append(StudentEpoch(len(self.history), loss, covered, clean, margin, speed))
        if self.best == len(self.history) - 1:
            self._best = {name: value.copy() for name, value in network.tensors().items()}
        self._save()

    def _save(self) -> None:
        kept = {f"now.{name}": value for name, value in self._learner.arrays().items()}
        kept |= {f"best.{name}": value for name, value in self._best.items()}
        array_file.save(
            self._folder / "last.safetensors",
            self._name,
            kept | {"losses": np.array(self._losses, np.float64)},
            {"history": [_plain(epoch) for epoch in self.history], "step": self._step},
        )

    def _resume(self) -> bool:
        saved = array_file.load(self._folder / "last.safetensors", self._name)
        if saved is None:
            return False
        arrays, record = saved
        self._learner.restore(_below("now.", arrays))
        self._best = _below("best.", arrays)
        self._losses = arrays["losses"].tolist()
        self._step = int(record["step"])
        self.history = [
            StudentEpoch(
                int(epoch["epoch"]),
                *(float("nan") if epoch[k] is None else float(epoch[k]) for k in _NUMBERS),
            )
            for epoch in record["history"]
        ]
        return True


def first_clean(samples: Samples) -> Int64:
    """(N,) of each sample, the place of its person's first clean face; -1 where there is none."""
    first: dict[int, int] = {}
    photos: dict[int, int] = {}
    clean = np.flatnonzero(~samples.covered)
    for place in clean.tolist():
        person, photo = int(samples.person[place]), int(samples.photo[place])
        if person not in first or photo < photos[person]:
            first[person], photos[person] = place, photo
    return np.array([first.get(int(person), -1) for person in samples.person], np.int64)


def embed(network: Network, samples: Samples, places: Int64) -> Floats:
    """(n, D) embeddings of some of the samples."""
    blocks = [places[n : n + _BLOCK] for n in range(0, len(places), _BLOCK)]
    return np.concatenate([network.embed(_maps(samples, block)) for block in blocks])


def _maps(samples: Samples, places: Int64) -> Float32:
    return np.asarray(samples.maps[samples.row[places]], np.float32)


def _photos_of_their_own(samples: Samples) -> bool:
    """Whether nobody has two photos."""
    pairs = np.unique(np.stack([samples.person, samples.photo]), axis=1)
    return pairs.shape[1] == len(np.unique(samples.person))


def _below(start: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def _plain(epoch: StudentEpoch) -> dict[str, Any]:
    """For JSON, which has no NaN."""
    return {k: None if v != v else v for k, v in asdict(epoch).items()}
