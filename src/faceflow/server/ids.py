"""How things are called over the wire."""

from __future__ import annotations

import re
import secrets
from typing import Any

from faceflow.server.problems import not_found

_PERSON = re.compile(r"p([1-9][0-9]{0,17})")


def new_id(kind: str) -> str:
    """A fresh id: the kind's letter and 16 random characters that are safe in a path."""
    return f"{kind}_{secrets.token_urlsafe(12)}"


def person_id(number: int) -> str:
    """A person's id over the wire."""
    return f"p{number}"


def person_number(text: str) -> int:
    """The gallery's number of a person. Raises a problem, 404, for what is no such id."""
    match = _PERSON.fullmatch(text)
    if match is None:
        raise not_found(f"person {text[:40]!r}")
    return int(match.group(1))


def id_pattern(kind: str) -> str:
    """A regular expression for ids of a kind, for paths."""
    return rf"^{kind}_[A-Za-z0-9_-]{{16}}$"


def clean(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in values.items() if value is not None}
