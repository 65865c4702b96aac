"""Option groups: dataclasses that are written once and shared by every command that takes them.

A command asks for a whole group::

    @dataclass(frozen=True)
    class Scoring:
        alpha: Annotated[float | None, typer.Option("--alpha", help="...")] = None
        k: Annotated[int | None, typer.Option("--k", help="...")] = None

    def identify(photos: Photos, scoring: Scoring, as_json: Json = False) -> None: ...

and :func:`flattened` gives typer a function that takes the group's fields one by one, in the
group's place, and hands the command the group again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its option groups as parameters of its own.

    Every parameter whose type is a dataclass is a group; the others stay as they are. A command
    can so share any number of groups, and a group's defaults are the options' defaults.

    Raises:
        TypeError: two groups, or a group and the command, have a parameter of the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[type[Any], tuple[str, ...]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if not dataclasses.is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind))
            continue
        assert isinstance(kind, type)
        added = _parameters(kind)
        groups[parameter.name] = (kind, tuple(one.name for one in added))
        parameters += added
    names = [parameter.name for parameter in parameters]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise TypeError(f"{command.__name__} takes {', '.join(twice)} twice")

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, (kind, fields) in groups.items():
            values[name] = kind(**{field: values.pop(field) for field in fields})
        command(**values)

    # Positional or keyword in any order, as typer calls by keyword: a group without defaults may
    # then stand before parameters with defaults and after them.
    keyword = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    """A group's fields as parameters, those of its base classes first."""
    hints = get_type_hints(group, include_extras=True)
    found = []
    for field in dataclasses.fields(group):
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            default = inspect.Parameter.empty
        found.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=hints[field.name],
            )
        )
    return found
