"""Values of a description, TOML or JSON, taken out one by one and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from faceflow.errors import InputError

_LONGEST_TEXT = 4000
_LONGEST_SHOWN = 200


class Fields:
    """A table of named values; every error names the field and the file.

    Args:
        values: the table.
        where: the file, for errors.
        prefix: what stands before a field's name in errors, e.g. ``defaults.``.
    """

    def __init__(self, values: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self._values = values
        self._where = where
        self._prefix = prefix
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether there is such a field; it counts as known from then on."""
        self._taken.add(name)
        return name in self._values

    def text(self, name: str, *, empty: bool = False) -> str:
        """A text of at most 4,000 characters, not empty unless ``empty`` allows it."""
        wanted = "a text" if empty else "a text that is not empty"
        return str(
            self._take(
                name,
                lambda v: isinstance(v, str) and (empty or v.strip()) and len(v) <= _LONGEST_TEXT,
                f"{wanted}, {_LONGEST_TEXT} characters at most",
            )
        )

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        """One of some texts."""
        wanted = f"one of {', '.join(known)}"
        return str(self._take(name, lambda v: isinstance(v, str) and v in known, wanted))

    def number(self, name: str, least: float, most: float) -> float:
        """A number in [least, most]."""
        wanted = f"a number between {least:g} and {most:g}"
        return float(self._take(name, lambda v: _is_number(v) and least <= v <= most, wanted))

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number in [least, most]."""
        wanted = f"a whole number from {least} to {most}"
        return int(self._take(name, lambda v: _is_whole(v, least, most), wanted))

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """That many numbers."""
        value = self._take(
            name,
            lambda v: isinstance(v, list) and len(v) == count and all(map(_is_number, v)),
            f"a list of {count} number{'s' if count > 1 else ''}",
        )
        return tuple(float(one) for one in value)

    def sides(self, name: str, least: int, most: int) -> tuple[int, int]:
        """Height and width, whole numbers in [least, most]."""
        height, width = self._take(
            name,
            lambda v: (
                isinstance(v, list) and len(v) == 2 and all(_is_whole(n, least, most) for n in v)
            ),
            f"two whole numbers, height and width, {least}..{most}",
        )
        return int(height), int(width)

    def table(self, name: str) -> Fields:
        """A table inside this one."""
        value = self._take(name, lambda v: isinstance(v, Mapping), f"a table, [{name}]")
        return Fields(value, self._where, f"{self._prefix}{name}.")

    def require_no_more(self) -> None:
        """Raise :class:`InputError` for a field that nobody asked for."""
        unknown = sorted(map(str, self._values.keys() - self._taken))
        if unknown:
            raise InputError(
                f"{self._where}: there is no field {self._prefix}{unknown[0][:_LONGEST_SHOWN]}",
                todo=f"the fields are {', '.join(sorted(self._taken))}",
            )

    def wrong(self, name: str, wanted: str) -> InputError:
        """The error for a field that is not as it must be."""
        shown = json.dumps(self._values.get(name), default=str, ensure_ascii=False)
        if len(shown) > _LONGEST_SHOWN:
            shown = f"{shown[:_LONGEST_SHOWN]}..."
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
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _is_whole(value: Any, least: int, most: int) -> bool:
    return _is_number(value) and value == int(value) and least <= value <= most
