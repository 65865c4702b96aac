"""The TOML description of an ONNX face network: what its file cannot say about itself."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from faceflow.alignment import TEMPLATES
from faceflow.errors import FaceflowError, InputError
from faceflow.matching import check_alpha
from faceflow.networks.spec import UNCALIBRATED, MatchDefaults
from faceflow.weighting import WEIGHTINGS

Colour = Literal["rgb", "bgr", "gray"]
_COLOURS = ("rgb", "bgr", "gray")
_LARGEST_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Description:
    """What a network wants to see and which of its values are what.

    Attributes:
        title: one line that says what it is.
        input_size: (H, W) of the crop.
        colour, mean, std, template: as in :class:`faceflow.networks.NetworkSpec`.
        embedding: the graph's output that holds the embedding.
        patches: the value in the graph that holds the patch grid.
        licence: terms of the weights; "unknown" where they are.
        training_data: what the weights were learned from; "unknown" where it is.
        code_licence, note, upstream: more about terms and origin; may be empty.
        defaults: matching options.
    """

    title: str
    input_size: tuple[int, int]
    colour: Colour
    mean: tuple[float, ...]
    std: tuple[float, ...]
    template: str
    embedding: str
    patches: str
    licence: str
    training_data: str
    code_licence: str = "not stated"
    note: str = "The description was written by the user who imported the network"
    upstream: str = "not stated"
    defaults: MatchDefaults = UNCALIBRATED


def read_description(file: str | Path) -> Description:
    """Read a description.

    Raises:
        InputError: the file cannot be read or is not TOML, or a field is missing, unknown or
            wrong; the message names the field.
    """
    path = Path(file)
    try:
        text = path.read_bytes().decode("utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{path} cannot be read as TOML",
            why=getattr(error, "strerror", None) or str(error),
            todo="`faceflow models inspect FILE.onnx` prints a description to start from",
        ) from error
    return parse(values, str(path))


def parse(values: Mapping[str, Any], where: str) -> Description:
    """A description from the values of a TOML file; ``where`` names the file in errors."""
    fields = _Fields(values, where)
    size = fields.numbers("input_size", 2)
    if any(side != int(side) or not 8 <= side <= _LARGEST_SIDE for side in size):
        raise fields.wrong("input_size", f"two whole numbers, height and width, 8..{_LARGEST_SIDE}")
    input_size = (int(size[0]), int(size[1]))
    colour = fields.text("colour")
    if colour not in _COLOURS:
        raise fields.wrong("colour", f"one of {', '.join(_COLOURS)}")
    channels = 1 if colour == "gray" else 3
    mean, std = fields.numbers("mean", channels), fields.numbers("std", channels)
    if min(std) <= 0:
        raise fields.wrong("std", "positive numbers")
    name = fields.text("template")
    fitting = [one.name for one in TEMPLATES.values() if one.size == input_size]
    if name not in fitting:
        known = ", ".join(f"{t.name} ({t.size[0]}x{t.size[1]})" for t in TEMPLATES.values())
        raise fields.wrong(
            "template", f"a template of {input_size[0]}x{input_size[1]} pixels; there are {known}"
        )
    found = Description(
        title=fields.text("title"),
        input_size=input_size,
        colour=cast("Colour", colour),
        mean=mean,
        std=std,
        template=name,
        embedding=fields.text("embedding"),
        patches=fields.text("patches"),
        licence=fields.text("licence"),
        training_data=fields.text("training_data"),
        defaults=_defaults(fields),
        **{
            key: fields.text(key) for key in ("code_licence", "note", "upstream") if fields.has(key)
        },
    )
    fields.require_no_more()
    return found


def _defaults(fields: _Fields) -> MatchDefaults:
    if not fields.has("defaults"):
        return UNCALIBRATED
    table = fields.table("defaults")
    alpha, k = table.number("alpha"), table.number("k")
    try:
        check_alpha(alpha)
    except FaceflowError as error:
        raise table.wrong("alpha", "a number between 0 and 1") from error
    if k != int(k) or k < 1:
        raise table.wrong("k", "a whole number from 1 on")
    weighting = table.text("weighting")
    known = [name for name in WEIGHTINGS if name != "uncovered"]  # that needs a patch model
    if weighting not in known:
        raise table.wrong("weighting", f"one of {', '.join(known)}")
    table.require_no_more()
    return MatchDefaults(alpha, weighting, int(k))


class _Fields:
    """Values of a table, taken out one by one; every error names the field and the file."""

    def __init__(self, values: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self._values = values
        self._where = where
        self._prefix = prefix
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        self._taken.add(name)
        return name in self._values

    def text(self, name: str) -> str:
        return str(
            self._take(name, lambda v: isinstance(v, str) and v.strip(), "a text that is not empty")
        )

    def number(self, name: str) -> float:
        return float(self._take(name, _is_number, "a number"))

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        value = self._take(
            name,
            lambda v: isinstance(v, list) and len(v) == count and all(map(_is_number, v)),
            f"a list of {count} number{'s' if count > 1 else ''}",
        )
        return tuple(float(one) for one in value)

    def table(self, name: str) -> _Fields:
        value = self._take(name, lambda v: isinstance(v, dict), f"a table, [{name}]")
        return _Fields(value, self._where, f"{name}.")

    def require_no_more(self) -> None:
        unknown = sorted(self._values.keys() - self._taken)
        if unknown:
            raise InputError(
                f"{self._where}: there is no field {self._prefix}{unknown[0]}",
                todo=f"the fields are {', '.join(sorted(self._taken))}",
            )

    def wrong(self, name: str, wanted: str) -> InputError:
        shown = json.dumps(self._values.get(name), default=str, ensure_ascii=False)
        return InputError(
            f"{self._where}: the field {self._prefix}{name} is {shown}", why=f"it must be {wanted}"
        )

    def _take(self, name: str, fits: Callable[[Any], Any], wanted: str) -> Any:
        self._taken.add(name)
        if name not in self._values:
            raise InputError(
                f"{self._where}: the field {self._prefix}{name} is missing",
                why=f"it must be {wanted}",
            )
        if not fits(self._values[name]):
            raise self.wrong(name, wanted)
        return self._values[name]


def _is_number(value: Any) -> bool:
    # TOML knows nan and inf; both compare False here.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
