"""Option groups become options, and come back as groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from faceflow.cli.groups import flattened


@dataclass(frozen=True)
class Scoring:
    alpha: Annotated[float | None, typer.Option("--alpha", help="Share.")] = None
    weighting: Annotated[list[str], typer.Option("--weighting")] = field(default_factory=list)


@dataclass(frozen=True)
class Deeper(Scoring):
    k: Annotated[int, typer.Option("--k", "-k", min=1)] = 100


def run(command: object, *words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(flattened(command))  # type: ignore[arg-type]
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def identify(
    photo: Annotated[str, typer.Argument()],
    scoring: Deeper,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Say what arrived."""
    typer.echo(f"{photo} {scoring} {as_json}")


def test_a_group_arrives_with_its_options_and_defaults() -> None:
    code, said = run(identify, "a.jpg", "--alpha", "0.5", "--weighting", "apc", "--json")
    assert code == 0
    assert said.strip() == f"a.jpg {Deeper(0.5, ['apc'], 100)} True"
    _, said = run(identify, "a.jpg")
    assert said.strip() == f"a.jpg {Deeper(None, [], 100)} False"


def test_bounds_and_help_are_those_of_the_fields() -> None:
    code, _ = run(identify, "a.jpg", "-k", "0")
    assert code == 2
    _, said = run(identify, "--help")
    assert "--alpha" in said
    assert "Share." in said
    assert "Say what arrived." in said


def test_one_name_in_two_groups_is_an_error_of_the_maker() -> None:
    def twice(one: Scoring, other: Deeper) -> None:
        """Ask twice."""

    twice.__annotations__ = {"one": Scoring, "other": Deeper, "return": None}
    with pytest.raises(TypeError, match="alpha, weighting twice"):
        flattened(twice)
