"""The ``faceflow`` command: all commands in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from faceflow import __version__
from faceflow.cli import covers, evaluating, models, onnx_networks, training
from faceflow.cli.calibrating import calibrate
from faceflow.cli.checkup import doctor
from faceflow.cli.demonstration import demo
from faceflow.cli.enrolling import enroll
from faceflow.cli.failures import translated
from faceflow.cli.groups import flattened
from faceflow.cli.identifying import identify
from faceflow.cli.occluding import occlude
from faceflow.cli.pairs import explain, verify
from faceflow.cli.people import faces, merge, people, remove, rename
from faceflow.cli.serving import audit_verify, serve
from faceflow.cli.transfer import export, import_

app = typer.Typer(
    help="Who is this covered face, how sure are we, and which parts of the face say so?",
    epilog="Exit codes: 0 fine, 2 wrong option, 3 unreadable photo, 4 no face, 5 gallery, "
    "6 weights, 7 missing package, 70 bug, 130 interrupted, 1 other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    help="Network weights: what there is, fetching, checking.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
train_app = typer.Typer(
    help="Fine-tune a network on covered faces.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
evaluate_app = typer.Typer(
    help="Measure: experiments, the paper's tables and figures, ablations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

audit_app = typer.Typer(
    help="A service's audit log.", no_args_is_help=True, pretty_exceptions_enable=False
)

_FACES = "Faces"
_GALLERY = "Gallery"
_SETUP = "Setup"
_SERVICE = "Service"

_COMMANDS: list[tuple[str, Callable[..., Any], str]] = [
    ("enroll", enroll, _FACES),
    ("identify", identify, _FACES),
    ("verify", verify, _FACES),
    ("explain", explain, _FACES),
    ("occlude", occlude, _FACES),
    ("people", people, _GALLERY),
    ("faces", faces, _GALLERY),
    ("remove", remove, _GALLERY),
    ("rename", rename, _GALLERY),
    ("merge", merge, _GALLERY),
    ("export", export, _GALLERY),
    ("import", import_, _GALLERY),
    ("calibrate", calibrate, _SETUP),
    ("demo", demo, _SETUP),
    ("doctor", doctor, _SETUP),
    ("serve", serve, _SERVICE),
]

for _name, _command, _panel in _COMMANDS:
    app.command(_name, rich_help_panel=_panel)(translated(_command))
for _name, _command in (
    ("list", models.list_),
    ("pull", models.pull),
    ("import", models.import_),
    ("path", models.path),
    ("verify", models.verify),
    ("inspect", onnx_networks.inspect),
):
    models_app.command(_name)(translated(_command))
for _name, _command in (
    ("identification", evaluating.identification),
    ("verification", evaluating.verification),
    ("table", evaluating.table),
    ("figure", evaluating.figure),
    ("ablation", evaluating.ablation),
):
    evaluate_app.command(_name)(translated(_command))
app.add_typer(models_app, name="models", rich_help_panel=_SETUP)
train_app.command("head")(translated(flattened(training.head)))
train_app.command("network")(translated(flattened(training.network)))
app.add_typer(covers.app, name="covers", rich_help_panel=_SETUP)
app.add_typer(train_app, name="train", rich_help_panel=_SETUP)
audit_app.command("verify")(translated(audit_verify))
app.add_typer(audit_app, name="audit", rich_help_panel=_SERVICE)
app.add_typer(evaluate_app, name="evaluate", rich_help_panel=_SETUP)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"faceflow {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    return
