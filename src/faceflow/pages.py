"""HTML pages: templates that lie beside the code, filled with escaped, printable texts."""

from __future__ import annotations

from functools import cache
from importlib import resources

import jinja2

_JOINERS = "\u200c\u200d"


@cache
def asset(package: str, name: str) -> str:
    """The text of a file inside a package: ``asset("faceflow.explain", "templates/page.css")``."""
    return (resources.files(package) / name).read_text(encoding="utf-8")


@cache
def template(package: str, name: str) -> jinja2.Template:
    """A template inside a package; every value is escaped, a missing one is an error.

    It may extend and include others of its package, named as it is itself.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda other: asset(package, other)),
    )
    return environment.get_template(name)


def printable(text: str) -> str:
    """Text without what has no shape: control and direction marks, halves of characters.

    Some could not be written as UTF-8 or would turn the words around them; the joiners that
    several scripts need stay.
    """
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in text)
