"""How a photo's source and content are written down."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from faceflow.errors import InputError
from faceflow.gallery.person_names import UNSHOWABLE

MAX_SOURCE = 4096

_SHA256 = re.compile("[0-9a-fA-F]{64}")


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
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in UNSHOWABLE else c
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
