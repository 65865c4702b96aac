"""Everything that decides a training run, in one frozen value that can be kept as TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from faceflow.errors import InputError
from faceflow.system.files import read_text

Recipe = TypeVar("Recipe", bound="HeadRecipe | NetworkRecipe | StudentRecipe")


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """How the last layer is trained on cached maps.

    Attributes:
        s, m: scale and margin of ArcFace.
        epochs: passes over the samples, at most.
        patience: epochs without a better validation after which it stops.
        batch_size: samples a step.
        step: Adam's step for the layer, in shares of its weights' root mean square; a person's
            centre moves ``centre_step`` shares of its own.
        centre_step: see ``step``.
        pull: share of the way back to the published layer that each step goes: L2
            regularisation towards the start.
        validation_share: share of the people set apart to judge.
        seed: of the order of samples and of who is set apart.
    """

    s: float = 30.0
    m: float = 0.5
    epochs: int = 20
    patience: int = 4
    batch_size: int = 256
    step: float = 0.003
    centre_step: float = 0.01
    pull: float = 0.001
    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self, ("s", "epochs", "patience", "batch_size", "step", "centre_step"))
        _require_share(self, ("pull", "validation_share"))


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """How a whole network is trained; the defaults are the paper's (appendix S2).

    The paper gives no momentum, batch size or share of covered photos; those of the authors'
    published script are none and 128, and the share here is a half.

    Attributes:
        s, m: scale and margin of ArcFace.
        epochs, lr, weight_decay: of SGD.
        momentum: of SGD.
        batch_size: photos a step over all processes and accumulated parts.
        accumulate: parts a step's batch is computed in, one after the other, to save memory.
        covered_share: share of the photos that are covered when they are shown.
        covers: the covers drawn, each equally often.
        freeze: the parts of the network whose names begin so are not trained, e.g.
            ``("conv1", "block1")``.
        precision: "float32", or "bfloat16" / "float16" for mixed precision.
        patience: epochs without a better validation after which it stops.
        validation_share: share of the people set apart to judge.
        seed: of everything random.
    """

    s: float = 30.0
    m: float = 0.5
    epochs: int = 12
    lr: float = 0.001
    weight_decay: float = 5e-4
    momentum: float = 0.0
    batch_size: int = 128
    accumulate: int = 1
    covered_share: float = 0.5
    covers: tuple[str, ...] = ("mask", "sunglasses")
    freeze: tuple[str, ...] = ()
    precision: str = "float32"
    patience: int = 4
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self, ("s", "epochs", "lr", "batch_size", "accumulate", "patience"))
        _require_share(self, ("covered_share", "validation_share", "momentum", "weight_decay"))
        if self.batch_size % self.accumulate:
            raise InputError(
                f"a batch of {self.batch_size} cannot be computed in {self.accumulate} equal parts"
            )
        known = ("float32", "bfloat16", "float16")
        if self.precision not in known:
            raise InputError(
                f"precision is {self.precision!r}", todo=f"choose one of {', '.join(known)}"
            )
        if self.covered_share and not self.covers:
            raise InputError("no cover is named", todo="name some, or set covered_share to 0")


@dataclass(frozen=True, slots=True)
class StudentRecipe:
    """How a student is trained to answer to covered faces as its teacher does to clean ones.

    Attributes:
        first: the first part of the network that is trained; all before it stays as it is. "fc"
            trains the last layer alone, which needs no PyTorch and goes with imported networks.
        copies: covered faces of each photo.
        covers: what is drawn; one that is named twice is drawn twice as often.
        mirrored_share: share of the covered faces that are mirrored.
        scale: of the cosines in the cross-entropy over all people trained on.
        near: weight of one less the cosine to the teacher's embedding.
        epochs: passes over all faces, clean and covered.
        lr: Adam's.
        last_layer_share: the last layer's learning rate, in shares of ``lr``.
        layer_step: Adam's step where the last layer is trained alone, in shares of its weights'
            root mean square.
        warm_up: steps over which the learning rate rises to ``lr``.
        clip: the longest gradient that is followed in full; longer ones are shortened to it.
        batch_size: faces a step.
        precision: "float32", or "bfloat16" for mixed precision.
        share: how far a student goes from its teacher towards what was trained: the mean of both
            networks' weights, weighted so (WiSE-FT, Wortsman et al. 2022).
        clean_loss: how much of the teacher's P@1 on clean photos of people set apart a student
            may lose.
        patience: epochs without a better validation after which it stops.
        validation_share: share of the people set apart to judge.
        seed: of everything random.
    """

    first: str = "conv4"
    copies: int = 3
    covers: tuple[str, ...] = (
        *("mask",) * 9,
        *("sunglasses",) * 4,
        *("scarf",) * 2,
        *("hand",) * 2,
        *("hat", "blob", "crop"),
    )
    mirrored_share: float = 0.5
    scale: float = 20.0
    near: float = 2.0
    epochs: int = 4
    lr: float = 1e-5
    last_layer_share: float = 0.25
    layer_step: float = 0.001
    warm_up: int = 100
    clip: float = 1.0
    batch_size: int = 32
    precision: str = "float32"
    share: float = 0.5
    clean_loss: float = 0.01
    patience: int = 2
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _require(
            self,
            ("copies", "scale", "epochs", "lr", "layer_step", "warm_up", "clip", "batch_size"),
        )
        _require(self, ("patience",))
        _require_share(
            self,
            ("mirrored_share", "last_layer_share", "share", "clean_loss", "validation_share"),
            most=1.0,
        )
        _require_share(self, ("near",), most=1e6)
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision is {self.precision!r}", todo="choose float32 or bfloat16")
        if not self.covers:
            raise InputError("no cover is named", todo="name some")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out; none of its numbers depend on it.

    Attributes:
        workers: processes that load and cover faces ahead.
        save_every: steps between checkpoints, besides those at each epoch's end.
        tensorboard: write TensorBoard's files too.
    """

    workers: int = 0
    save_every: int = 500
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise InputError(f"workers is {self.workers}", why="it must be 0 or more")
        if self.save_every < 1:
            raise InputError(f"save_every is {self.save_every}", why="it must be 1 or more")


def read_recipe(kind: type[Recipe], path: Path | None, **changes: Any) -> Recipe:
    """A recipe from a TOML file of its fields, or the default one, with changes.

    Args:
        kind: HeadRecipe or NetworkRecipe.
        path: the file; None: all defaults.
        changes: fields set on top; None leaves a field alone.

    Raises:
        InputError: the file cannot be read, or a field is unknown or out of range.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(read_text(path, kind="recipe"))
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{path} cannot be read as TOML", why=str(error)) from error
    values |= {name: value for name, value in changes.items() if value is not None}
    return recipe_from(kind, values)


def recipe_from(kind: type[Recipe], values: dict[str, Any]) -> Recipe:
    """A recipe from plain values, each checked against its field.

    Raises:
        InputError: a field is unknown, of another type, or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise InputError(
                f"a recipe has no field {name!r}", todo=f"choose from {', '.join(fields)}"
            )
        default = fields[name].default
        if isinstance(default, tuple):
            fits = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
            value = tuple(value) if fits else value
        elif isinstance(default, float):
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
            value = float(value) if fits else value
        else:
            fits = type(value) is type(default)
        if not fits:
            raise InputError(
                f"{name} is {value!r} in the recipe",
                why=f"a value like {default!r} is needed",
            )
        checked[name] = value
    return kind(**checked)


_Any = HeadRecipe | NetworkRecipe | StudentRecipe


def _require(recipe: _Any, names: tuple[str, ...]) -> None:
    for name in names:
        if not 0 < getattr(recipe, name) < float("inf"):
            raise InputError(f"{name} is {getattr(recipe, name)}", why="it must be above 0")
    if recipe.seed < 0:
        raise InputError(f"seed is {recipe.seed}", why="it must be 0 or more")
    if not isinstance(recipe, StudentRecipe) and not 0 <= recipe.m < 3.14:
        raise InputError(f"m is {recipe.m}", why="it is an angle in radians from 0 to pi")


def _require_share(recipe: _Any, names: tuple[str, ...], *, most: float = 1.0) -> None:
    for name in names:
        if not 0 <= getattr(recipe, name) <= most:
            raise InputError(
                f"{name} is {getattr(recipe, name)}", why=f"it must lie in [0, {most:g}]"
            )
