"""The ``doctor`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from faceflow.cli.failures import code_of
from faceflow.cli.options import GALLERY, Json, Place
from faceflow.cli.output import Cell, print_json, print_table, say

_STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    gallery: Annotated[Place | None, GALLERY] = None,
    as_json: Json = False,
) -> None:
    """Check this computer: versions, processor, models, disk, a self-test.

    With --gallery every byte of that gallery is read too. Exits with 0 only when the main job
    can run.
    """
    from faceflow.doctor import examine

    checks = examine(gallery=gallery)
    problems = [check.error for check in checks if check.error is not None]
    if as_json:
        print_json(
            {
                "ok": not problems,
                "checks": [
                    {"check": check.name, "verdict": check.verdict, "detail": check.detail}
                    for check in checks
                ],
            }
        )
    else:
        rows: list[tuple[Cell, ...]] = [
            (check.name, (check.verdict, _STYLES[check.verdict]), check.detail) for check in checks
        ]
        print_table(("check", "verdict", "found"), rows)
        if problems:
            say(f"{len(problems)} of {len(checks)} checks found a problem")
        else:
            say("faceflow is ready")
    if problems:
        raise typer.Exit(code_of(problems))
