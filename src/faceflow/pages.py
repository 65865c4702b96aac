"""HTML pages: templates that lie beside the code, filled with escaped, printable texts."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2

_JOINERS = "\u200c\u200d"


@cache
def asset(package: str, name: str) -> str:
    """The text of a file inside a package: ``asset("faceflow.explain", "templates/page.css")``."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


@cache
def template(package: str, name: str) -> jinja2.Template:
    """A template inside a package; every value is escaped and :func:`printable`.

    A missing value is an error. Markup of our own goes through as it is. A template may extend
    and include others of its package, named as it is itself.
    """
    import jinja2  # here: most of what explains or answers makes no page

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
        loader=jinja2.FunctionLoader(lambda other: asset(package, other)),
    )
    return environment.get_template(name)


def _shown(value: object) -> object:
    own = hasattr(value, "__html__")  # markup of ours
    return printable(value) if isinstance(value, str) and not own else value


def printable(text: str) -> str:
    """Text without what has no shape: control and direction marks, halves of characters.

    Some could not be written as UTF-8 or would turn the words around them; the joiners that
    several scripts need stay.
    """
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in text)
