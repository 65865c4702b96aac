"""How help and usage errors look: typer's, made fit for terminals and for people."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
import typer.core

from faceflow.cli.output import clean

# What typer raises for wrong words; it does not offer the class by a name of its own.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class Group(typer.core.TyperGroup):
    """Commands; what a usage error quotes of the user's words is made safe to show."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, --help too."""
        return _without_types(super().get_params(ctx))

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Parse the words before the command."""
        with _cleaned():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's words and run it."""
        with _cleaned():
            return super().invoke(ctx)


class Command(typer.core.TyperCommand):
    """A command whose help says nothing of Python's types."""

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, --help too."""
        return _without_types(super().get_params(ctx))


@contextmanager
def _cleaned() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = clean(error.message)  # type: ignore[attr-defined]
        raise


def _without_types(params: list[Any]) -> list[Any]:
    """Leave out the type of flags, which take no value, and of arguments: their names say more."""
    for one in params:
        if isinstance(one, typer.core.TyperArgument):
            one.display_type_rich = _no_type  # type: ignore[method-assign]
        elif getattr(one, "is_flag", False) and one.metavar is None:
            one.metavar = ""
    return params


def _no_type(ctx: object) -> None:
    return


def prose(command: Callable[..., None]) -> str:
    """A docstring's paragraphs as one line each, for a terminal of any width to break."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
