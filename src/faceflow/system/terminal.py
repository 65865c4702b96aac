"""Texts of strangers made safe to show on a terminal."""

from __future__ import annotations


def showable(text: str) -> str:
    """Text that is safe to show: control characters and broken encodings are spelled out.

    Names of people and files come from anywhere; shown raw, an escape sequence in one could
    rewrite the user's screen, and a mark that turns text around show another name.

    Example:
        >>> print(showable("a\\x1b[2Jb\\u202ec"))
        a\\x1b[2Jb\\u202ec
    """
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in safe)
