"""What may be a person's name, and how a photo's source and content are written down."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from faceflow.errors import InputError

MAX_NAME = 200
"""Longest name in characters after normalisation; longer ones are a mistake in the input."""
MAX_SOURCE = 4096

_SHA256 = re.compile("[0-9a-fA-F]{64}")

# Control characters, lone surrogates (a file name that is not UTF-8) and line breaks.
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}
# Marks that reorder the text around them: a table of results could show another name.
_REORDERING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def person_name(text: str) -> str:
    """The name as the gallery keeps it: Unicode NFC, without spaces at the ends.

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
        if unicodedata.category(character) in _REFUSED or character in _REORDERING:
            raise InputError(
                f"the name {name!r} holds the character U+{ord(character):04X}",
                why="control, line-break and text-reordering characters cannot be shown safely",
                todo="rename the folder or the row this name comes from",
            )
    return name


def source_label(text: str) -> str:
    """A photo's source as it is kept: a label to read, never opened as a path.

    Characters that cannot be printed or encoded are written as escapes (``\\x00``,
    ``\\udcff``), so any file name can be recorded.

    Raises:
        InputError: not a string, or longer than :data:`MAX_SOURCE` characters.
    """
    if not isinstance(text, str):
        raise InputError(f"a source must be text, got {type(text).__name__}")
    label = "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _REFUSED else c
        for c in text
    )
    if len(label) > MAX_SOURCE:
        raise InputError(f"a source has {len(label)} characters, at most {MAX_SOURCE} are kept")
    return label


def checked_hash(content_hash: Any) -> str:
    """A sha256 in lower-case hex digits, or InputError."""
    if not isinstance(content_hash, str) or not _SHA256.fullmatch(content_hash):
        raise InputError(
            f"content_hash is {content_hash!r}", why="a sha256 of 64 hex digits is needed"
        )
    return content_hash.lower()
