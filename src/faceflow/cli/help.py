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


class CleanErrors(typer.core.TyperGroup):
    """All commands; what a usage error quotes of the user's words is made safe to show."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Parse the words before the command."""
        with _cleaned():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command's words and run it."""
        with _cleaned():
            return super().invoke(ctx)

    def get_help_option(self, ctx: Any) -> Any:
        """The option --help, as one without a value."""
        return _without_value(super().get_help_option(ctx))


@contextmanager
def _cleaned() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = clean(error.message)  # type: ignore[attr-defined]
        raise


class Command(typer.core.TyperCommand):
    """A command whose help leaves out the Python types of arguments: their names say more."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        for one in self.params:
            if isinstance(one, typer.core.TyperArgument):
                one.display_type_rich = _no_type  # type: ignore[method-assign]

    def get_help_option(self, ctx: Any) -> Any:
        """The option --help, as one without a value."""
        return _without_value(super().get_help_option(ctx))


def _without_value(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option


def _no_type(ctx: object) -> None:
    return


def prose(command: Callable[..., None]) -> str:
    """A docstring's paragraphs as one line each, for a terminal of any width to break."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
