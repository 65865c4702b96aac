"""Fine-tune a whole network by ArcFace, on one process or many, so that it can be interrupted.

All that is random is a function of seed, epoch and step, so a checkpoint holds numbers only: a
run that was killed and goes on gives the same losses as one that was not, bit for bit on a CPU
with one number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faceflow.arrays import Floats, Int64
from faceflow.errors import FaceflowError, InputError
from faceflow.training import run_file
from faceflow.training.aligned_crops import Crops
from faceflow.training.judge import Judge, in_blocks
from faceflow.training.log import CsvLog, TensorBoardLog
from faceflow.training.processes import Processes
from faceflow.training.recipe import NetworkRecipe, RunOptions
from faceflow.training.showing import Showing, Steps, load
from faceflow.training.torch_loss import ArcFaceMargin
from faceflow.weights import Tensors

_CENTRE_FACES = 4  # faces that a person's first centre is the mean of
_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class NetworkEpoch:
    """One epoch; epoch 0 is the network as it was given.

    Attributes:
        epoch: its number.
        loss: mean ArcFace loss of its steps (NaN for epoch 0).
        covered: P@1 of the covered faces of people set apart, against one clean face of each.
        clean: P@1 of their other clean faces.
        margin: mean margin of the covered ones, see ``split.first_choices``.
        images_per_second: trained on, over all processes, since the start or resumption of
            the epoch.
    """

    epoch: int
    loss: float
    covered: float
    clean: float
    margin: float
    images_per_second: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNetwork:
    """The best network and how it came about.

    Attributes:
        tensors: its state dict.
        best: the epoch it is from; 0: nothing was better than the network as given.
        history: all epochs.
        losses: of every step.
        people, faces: how many were trained on.
        validation_people: how many judged.
    """

    tensors: Tensors
    best: int
    history: tuple[NetworkEpoch, ...]
    losses: tuple[float, ...]
    people: int
    faces: int
    validation_people: int


def train_network(
    crops: Crops,
    model: nn.Module,
    folder: Path,
    recipe: NetworkRecipe | None = None,
    *,
    options: RunOptions | None = None,
    among: Processes | None = None,
    progress: Callable[[int, float], None] | None = None,
    told: Callable[[NetworkEpoch], None] | None = None,
) -> TrainedNetwork:
    """Train, or go on with the run in ``folder``.

    Args:
        crops: aligned faces of the people to train and to judge with.
        model: from :func:`faceflow.networks.torch.build`, its weights those to start from;
            changed in place.
        folder: of this run: ``last.pt``, ``best.pt`` and ``log.csv``. A run that is found there
            goes on.
        recipe: how; None: the paper's.
        options: what its numbers do not depend on.
        among: this process among others (:func:`faceflow.training.processes.joined`); None: alone
            on the CPU.
        progress: told the number of each finished step and its loss (process 0 only).
        told: told the state at the start and each finished epoch (process 0 only).

    Returns:
        The network of the epoch with the best P@1 of covered validation faces; equal ones are
        told apart by the mean margin. Every process gets it.

    Raises:
        InputError: too few people or faces, or ``folder`` holds another run.
        MissingExtraError: TensorBoard is wished and not installed.
        FaceflowError: the loss is not finite, or a checkpoint cannot be read or written.
    """
    how, me = recipe or NetworkRecipe(), among or Processes(0, 1, torch.device("cpu"))
    options = options or RunOptions()
    if how.precision == "float16" and me.device.type != "cuda":
        raise InputError("float16 needs a CUDA device", todo="use bfloat16 or float32")
    run = _Run(crops, model.to(me.device), folder, how, me, options)
    writers: list[Callable[[dict[str, float | int]], None]] = []
    if me.rank == 0:
        writers.append(CsvLog(folder / "log.csv"))
        if options.tensorboard:
            writers.append(TensorBoardLog(folder / "tensorboard"))
        for epoch in run.history:  # a resumed run's log is written anew
            for write in writers:
                write(asdict(epoch))
        if told is not None:
            told(run.history[-1])
    while not run.finished:
        run.epoch_of_training(progress if me.rank == 0 else None)
        if me.rank == 0:
            for write in writers:
                write(asdict(run.history[-1]))
            if told is not None:
                told(run.history[-1])
    return run.result()


class _Shown(nn.Module):
    """Network and loss in one module, which data parallelism wants."""

    def __init__(self, model: nn.Module, margin: ArcFaceMargin) -> None:
        super().__init__()
        self.model, self.margin = model, margin

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        embedding, _ = self.model(images)
        loss: Tensor = self.margin(embedding, labels)
        return loss


class _Run:
    """A run under way: all that a checkpoint keeps, and how it goes on."""

    def __init__(
        self,
        crops: Crops,
        model: nn.Module,
        folder: Path,
        how: NetworkRecipe,
        me: Processes,
        options: RunOptions,
    ) -> None:
        self._how, self._me, self._folder, self._options = how, me, folder, options
        self._model = model
        self._judge = Judge(crops, how)
        chosen = np.flatnonzero(~self._judge.apart)
        self._people, labels = np.unique(crops.person[chosen], return_inverse=True)
        if len(self._people) < 2:
            raise InputError(
                f"There are too few people to train with: {len(self._people)}",
                why="at least 2 are needed beside those set apart to judge",
                todo="give photos of more people, or a smaller validation share",
            )
        all_labels = np.full(len(crops), -1, np.int64)
        all_labels[chosen] = labels
        self._faces = len(chosen)
        self._showing = Showing(crops, all_labels, how)
        self._steps = Steps(chosen.astype(np.int64), how, rank=me.rank, processes=me.count)
        self._frozen = freeze(model, how.freeze)
        self._name = run_file.identity(
            asdict(how), crops.spec.digest, crops.names, crops.person.tolist()
        )
        saved = self._saved()
        if saved is None:
            centres = _first_centres(self._embed, crops, chosen.astype(np.int64), labels)
        else:
            centres = saved[0]["shown"]["margin.centres"]
        self._shown = _Shown(model, ArcFaceMargin(centres, how.s, how.m)).to(me.device)
        self._optimiser = torch.optim.SGD(
            [p for p in self._shown.parameters() if p.requires_grad],
            lr=how.lr,
            momentum=how.momentum,
            weight_decay=how.weight_decay,
        )
        self._scaler = torch.amp.GradScaler(me.device.type, enabled=how.precision == "float16")
        self.history: list[NetworkEpoch] = []
        self._losses: list[float] = []
        self._step = 0  # steps done in the epoch under way
        self._best: Tensors = {}
        if saved is None:
            self._end_epoch(float("nan"), 0.0)
        else:
            self._resume(*saved)
        self._parallel: nn.Module = self._shown
        if me.count > 1:
            self._parallel = DistributedDataParallel(self._shown)

    @property
    def best(self) -> int:
        """Number of the best epoch so far."""
        return max(
            range(len(self.history)),
            key=lambda n: (self.history[n].covered, self.history[n].margin, -n),
        )

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        done = len(self.history) - 1
        return done >= self._how.epochs or done - self.best >= self._how.patience

    def epoch_of_training(self, progress: Callable[[int, float], None] | None) -> None:
        """Finish the epoch under way."""
        epoch, first = len(self.history), self._step
        begin = time.perf_counter()
        parts = load(self._showing, self._steps.parts(epoch, first), workers=self._options.workers)
        for step in range(first, self._steps.per_epoch):
            batch = [next(parts) for _ in range(self._how.accumulate)]
            # No random state to save: dropout and the like begin anew at every step. After
            # loading, which draws random numbers where an epoch is begun or resumed.
            torch.manual_seed(hash((self._how.seed, epoch, step, self._me.rank)) % 2**63)
            loss = self._me.mean(self._one_step(batch))
            if not np.isfinite(loss):
                raise FaceflowError(
                    f"The loss of step {step + 1} in epoch {epoch} is {loss}",
                    why="the training has diverged",
                    todo="use a smaller lr in the recipe",
                )
            self._losses.append(loss)
            self._step = step + 1
            if progress is not None:
                progress(len(self._losses), loss)
            if self._step % self._options.save_every == 0 and self._step < self._steps.per_epoch:
                self._save()
        seconds = max(time.perf_counter() - begin, 1e-9)
        seen = (self._steps.per_epoch - first) * self._how.batch_size
        self._step = 0
        self._end_epoch(float(np.mean(self._losses[-self._steps.per_epoch :])), seen / seconds)

    def result(self) -> TrainedNetwork:
        """The best network."""
        return TrainedNetwork(
            self._best,
            self.best,
            tuple(self.history),
            tuple(self._losses),
            len(self._people),
            self._faces,
            self._judge.people,
        )

    def _one_step(self, parts: list[tuple[Tensor, Tensor]]) -> float:
        self._shown.train()
        for module in self._frozen:
            module.eval()  # normalisation statistics stay as they are
        self._optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for number, (images, labels) in enumerate(parts):
            last = number == len(parts) - 1
            wait = (
                self._parallel.no_sync()
                if isinstance(self._parallel, DistributedDataParallel) and not last
                else nullcontext()
            )
            device = self._me.device
            with wait:
                with self._precision():
                    loss = self._parallel(
                        images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
                    ) / len(parts)
                self._scaler.scale(loss).backward()
            total += float(loss.detach())
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return total

    def _precision(self) -> Any:
        kind = _PRECISIONS[self._how.precision]
        return torch.autocast(self._me.device.type, dtype=kind, enabled=kind is not None)

    def _embed(self, images: Floats) -> Floats:
        self._model.eval()
        with torch.no_grad(), self._precision():
            embedding, _ = self._model(torch.from_numpy(images).to(self._me.device))
        result: Floats = embedding.float().cpu().numpy()
        return result

    def _end_epoch(self, loss: float, speed: float) -> None:
        """Judge in process 0, whose word counts for all."""
        covered, clean, margin = self._judge(self._embed) if self._me.rank == 0 else (0.0, 0.0, 0.0)
        if self._me.count > 1:
            told = torch.tensor(
                [covered, clean, margin], dtype=torch.float64, device=self._me.device
            )
            torch.distributed.broadcast(told, src=0)
            covered, clean, margin = told.tolist()
        self.history.append(NetworkEpoch(len(self.history), loss, covered, clean, margin, speed))
        if self.best == len(self.history) - 1:
            self._best = _to_arrays(self._model)
            if self._me.rank == 0:
                best = {name: torch.from_numpy(value) for name, value in self._best.items()}
                run_file.save(self._folder / "best.pt", {"run": self._name, "state_dict": best})
        self._save()

    def _save(self) -> None:
        if self._me.rank == 0:
            run_file.save(
                self._folder / "last.pt",
                {
                    "run": self._name,
                    "shown": self._shown.state_dict(),
                    "optimiser": self._optimiser.state_dict(),
                    "scaler": self._scaler.state_dict(),
                    "history": [asdict(epoch) for epoch in self.history],
                    "losses": self._losses,
                    "step": self._step,
                },
            )

    def _saved(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The run in the folder, read by every process from the same files."""
        last = run_file.load(self._folder / "last.pt", self._name)
        best = run_file.load(self._folder / "best.pt", self._name)
        found = last is not None and best is not None
        if self._me.agree(found) != found:
            raise FaceflowError(
                f"{self._folder} is not the same for all processes",
                todo="put the run on a disk that all of them see",
            )
        return None if last is None or best is None else (last, best)

    def _resume(self, last: dict[str, Any], best: dict[str, Any]) -> None:
        self._shown.load_state_dict(last["shown"])
        self._optimiser.load_state_dict(last["optimiser"])
        self._scaler.load_state_dict(last["scaler"])
        self.history = [NetworkEpoch(**epoch) for epoch in last["history"]]
        self._losses, self._step = list(last["losses"]), last["step"]
        self._best = {name: value.numpy() for name, value in best["state_dict"].items()}


def freeze(model: nn.Module, parts: tuple[str, ...]) -> list[nn.Module]:
    """Keep the named parts of a network from being trained.

    Returns:
        The frozen modules, to be kept in evaluation mode.

    Raises:
        InputError: a name fits no part, or nothing is left to train.
    """
    found = dict(model.named_modules())
    unknown = [part for part in parts if part not in found or not part]
    if unknown:
        top = ", ".join(name for name, _ in model.named_children())
        raise InputError(f"the network has no part {unknown[0]!r}", todo=f"choose from {top}")
    for part in parts:
        found[part].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("nothing is left to train", todo="freeze fewer parts")
    return [found[part] for part in parts]


def _first_centres(
    embed: Callable[[Floats], Floats], crops: Crops, chosen: Int64, labels: Int64
) -> Tensor:
    """Each person's mean unit embedding of their first few clean faces."""
    taken: list[int] = []
    count = np.zeros(labels.max() + 1, np.int64)
    for place, label in enumerate(labels):
        if count[label] < _CENTRE_FACES:
            taken.append(place)
            count[label] += 1
    embedding = in_blocks(embed, [crops.scaled(int(chosen[place])) for place in taken])
    embedding /= np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12)
    centres = np.zeros((len(count), embedding.shape[1]), np.float32)
    np.add.at(centres, labels[taken], embedding)
    return torch.from_numpy(centres / count[:, None].astype(np.float32))


def _to_arrays(model: nn.Module) -> Tensors:
    return {name: value.detach().cpu().numpy().copy() for name, value in model.state_dict().items()}
