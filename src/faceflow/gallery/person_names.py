"""What may be a person's name, wherever it comes from: a folder, a table, a gallery."""

from __future__ import annotations

import unicodedata

from faceflow.errors import InputError

MAX_NAME = 200
"""Longest name in characters after normalisation; longer ones are a mistake in the input."""

UNSHOWABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories refused: control characters, lone surrogates (a file name that is not UTF-8)
and line breaks."""

# Marks that reorder the text around them: a table of results could show another name.
_REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def person_name(text: str) -> str:
    """The name as galleries and readers keep it: Unicode NFC, without spaces at the ends.

    Any script, spaces and characters such as ``/`` are fine: a name is never used as a path.

    Raises:
        InputError: not a string, nothing visible in it, longer than :data:`MAX_NAME`
            characters, or it holds control, line-break or text-reordering characters.

    Example:
        >>> person_name("  Zoe\\u0308 Kravitz ") == "Zo\\u00eb Kravitz"
        True
    """
    if not isinstance(text, str):
        raise InputError(f"a person's name must be text, got {type(text).__name__}")
    name = unicodedata.normalize("NFC", text).strip()
    if not any(unicodedata.category(c)[0] not in "CZ" for c in name):
        raise InputError("a person's name is empty", todo="give the person a name")
    if len(name) > MAX_NAME:
        raise InputError(
            f"a person's name has {len(name)} characters: {name[:40]!r}...",
            why=f"at most {MAX_NAME} are kept",
        )
    for character in name:
        if unicodedata.category(character) in UNSHOWABLE or character in _REORDERING:
            raise InputError(
                f"the name {name!r} holds the character U+{ord(character):04X}",
                why="control, line-break and text-reordering characters cannot be shown safely",
                todo="rename the folder or the row this name comes from",
            )
    return name


def by_name(name: str) -> tuple[str, str]:
    """What people are listed by: their name without regard to case, then with it."""
    return name.casefold(), name
