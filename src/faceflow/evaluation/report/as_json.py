"""A report as JSON and back, without loss."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from faceflow.errors import InputError
from faceflow.evaluation.experiment import Report
from faceflow.matching.options import MatchOptions
from faceflow.matching.transport import Sinkhorn

SCHEMA = "faceflow.evaluation/2"
"""Changes with the fields of :class:`faceflow.evaluation.experiment.Report`."""

# JSON has no infinity; a threshold nothing reaches is one.
_INFINITE = {"inf": math.inf, "-inf": -math.inf}


def to_json(report: Report) -> dict[str, Any]:
    """The report as plain dictionaries, lists, strings and finite numbers."""
    return {"schema": SCHEMA, **_plain(report)}


def from_json(value: Mapping[str, Any]) -> Report:
    """The report that :func:`to_json` was given.

    Raises:
        InputError: another schema, or fields that are missing, unknown or of another type.
    """
    fields = dict(value)
    schema = fields.pop("schema", None)
    if schema != SCHEMA:
        raise InputError(f"this is no report of schema {SCHEMA}", why=f"its schema is {schema!r}")
    report: Report = _typed(Report, fields, "report")
    return report


def _plain(value: Any) -> Any:
    if isinstance(value, MatchOptions):
        return _options(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def _options(options: MatchOptions) -> dict[str, Any]:
    """Options without the network's patch model, which is no choice and no plain value."""
    if not isinstance(options.solver, Sinkhorn):
        raise InputError(f"a report cannot say how {type(options.solver).__name__} solves")
    names = [field.name for field in dataclasses.fields(options) if field.name != "model"]
    return {name: _plain(getattr(options, name)) for name in names}


def _typed(kind: Any, value: Any, where: str) -> Any:
    """``value`` read as ``kind``: the annotation of a field."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parts:
            return None
        return _typed(next(part for part in parts if part is not type(None)), value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        if kind is MatchOptions:  # as _options writes them
            del hints["model"]
            hints["solver"] = Sinkhorn
        if not isinstance(value, Mapping) or value.keys() != hints.keys():
            raise InputError(f"{where} does not hold the fields of {kind.__name__}")
        return kind(**{key: _typed(hints[key], value[key], f"{where}.{key}") for key in hints})
    if origin is tuple and isinstance(value, list):
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(_typed(parts[0], item, where) for item in value)
        if len(parts) == len(value):
            return tuple(_typed(p, item, where) for p, item in zip(parts, value, strict=True))
    elif origin is dict and isinstance(value, Mapping):
        return {key: _typed(parts[1], item, where) for key, item in value.items()}
    elif kind is float:
        if isinstance(value, str) and value in _INFINITE | {"nan": math.nan}:
            return float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif (origin is typing.Literal and value in parts) or (origin is None and type(value) is kind):
        return value
    raise InputError(f"{where} is {value!r:.40}", why=f"{kind} is needed")
