"""The ``faceflow`` command: all commands in one place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from faceflow import __version__
from faceflow.cli import (
    cluster_enroll,
    clustering,
    covers,
    evaluating,
    models,
    onnx_networks,
    students,
    training,
)
from faceflow.cli.calibrating import calibrate
from faceflow.cli.checkup import doctor
from faceflow.cli.demonstration import demo
from faceflow.cli.enrolling import enroll
from faceflow.cli.failures import translated
from faceflow.cli.groups import flattened
from faceflow.cli.help import Command, Group, prose
from faceflow.cli.identifying import identify
from faceflow.cli.occluding import occlude
from faceflow.cli.pairs import explain, verify
from faceflow.cli.people import faces, merge, people, remove, rename
from faceflow.cli.serving import audit_verify, serve
from faceflow.cli.transfer import export, import_

_FACES = "Faces"
_GALLERY = "Gallery"
_SETUP = "Setup"
_SERVICE = "Service"

COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "enroll": (enroll, _FACES),
    "identify": (identify, _FACES),
    "verify": (verify, _FACES),
    "explain": (explain, _FACES),
    "occlude": (occlude, _FACES),
    "people": (people, _GALLERY),
    "faces": (faces, _GALLERY),
    "remove": (remove, _GALLERY),
    "rename": (rename, _GALLERY),
    "merge": (merge, _GALLERY),
    "export": (export, _GALLERY),
    "import": (import_, _GALLERY),
    "calibrate": (calibrate, _SETUP),
    "demo": (demo, _SETUP),
    "doctor": (doctor, _SETUP),
    "serve": (serve, _SERVICE),
}
"""Name -> command, and the panel of the help it stands in."""
GROUPS: dict[str, tuple[str, dict[str, Callable[..., None]]]] = {
    "models": (
        "Network weights: what there is, fetching, checking.",
        {
            "list": models.list_,
            "pull": models.pull,
            "import": models.import_,
            "import-pack": models.import_pack,
            "path": models.path,
            "export-student": models.export_student,
            "import-student": models.import_student,
            "verify": models.verify,
            "inspect": onnx_networks.inspect,
        },
    ),
    "train": (
        "Fine-tune a network on covered faces.",
        {"head": training.head, "network": training.network, "covers": students.covers},
    ),
    "covers": (
        "Teach any network which parts of a face are covered, from your own photos.",
        {"learn": covers.learn, "show": covers.show, "forget": covers.forget},
    ),
    "cluster": (
        "A gallery over many machines: shards on Ray that search it.",
        {
            "start": clustering.start,
            "status": clustering.status,
            "enroll": clustering.enroll,
            "bulk-enroll": cluster_enroll.enroll_in_bulk,
            "serve": clustering.serve,
            "drain": clustering.drain,
            "plan": clustering.plan,
        },
    ),
    "audit": ("A service's audit log.", {"verify": audit_verify}),
    "evaluate": (
        "Measure: experiments, the paper's tables and figures, ablations.",
        {
            "identification": evaluating.identification,
            "verification": evaluating.verification,
            "table": evaluating.table,
            "figure": evaluating.figure,
            "ablation": evaluating.ablation,
        },
    ),
}
"""Name -> help and commands of those that stand below a word of their own."""

app = typer.Typer(
    cls=Group,
    help="Who is this covered face, how sure are we, and which parts of the face say so?",
    epilog="Exit codes: 0 fine, 2 wrong option, 3 unreadable photo, 4 no face, 5 gallery, "
    "6 weights, 7 missing package, 8 no such device, 70 bug, 130 interrupted, 1 other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _register(
    place: typer.Typer, name: str, command: Callable[..., None], panel: str | None = None
) -> None:
    place.command(name, cls=Command, help=prose(command), rich_help_panel=panel)(
        translated(flattened(command))
    )


for _name, (_command, _panel) in COMMANDS.items():
    _register(app, _name, _command, _panel)
for _group, (_about, _commands) in GROUPS.items():
    _below = typer.Typer(
        cls=Group, help=_about, no_args_is_help=True, pretty_exceptions_enable=False
    )
    for _name, _command in _commands.items():
        _register(_below, _name, _command)
    app.add_typer(_below, name=_group, rich_help_panel=_SETUP)


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
