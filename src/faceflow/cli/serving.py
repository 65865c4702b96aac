"""The ``serve`` command, and ``audit verify``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from faceflow.cli.loading import chosen_device
from faceflow.cli.options import CLUSTER, GALLERY, Json, Machine, Place, QueryNetwork
from faceflow.cli.output import print_json, print_line, say
from faceflow.errors import GalleryError, InputError, MissingExtraError

_LISTENING = "Listening"


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a service listens, and behind what."""

    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen at.", rich_help_panel=_LISTENING),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="0 takes a free one.", rich_help_panel=_LISTENING
        ),
    ] = 8765
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate",
            help="PEM file of a TLS certificate.",
            metavar="FILE",
            rich_help_panel=_LISTENING,
        ),
    ] = None
    certificate_key: Annotated[
        Path | None,
        typer.Option(
            "--certificate-key",
            help="PEM file of its key.",
            metavar="FILE",
            rich_help_panel=_LISTENING,
        ),
    ] = None
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Listen at a public address without a certificate: a proxy in front encrypts.",
            rich_help_panel=_LISTENING,
        ),
    ] = False
    origin: Annotated[
        list[str] | None,
        typer.Option(
            "--origin",
            help="Address that browsers show for the pages, e.g. https://faces.example.",
            metavar="URL",
            rich_help_panel=_LISTENING,
        ),
    ] = None


def serve(
    *,
    gallery: Annotated[Place | None, GALLERY] = None,
    galleries: Annotated[
        Path | None,
        typer.Option("--galleries", help="A folder of galleries to serve.", metavar="FOLDER"),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="File of keys, jobs, cases and the audit log (default: beside the galleries).",
            metavar="FILE",
        ),
    ] = None,
    query_network: QueryNetwork = None,
    cluster: Annotated[str | None, CLUSTER] = None,
    listening: Listening,
    searches: Annotated[
        int,
        typer.Option("--searches", min=1, max=64, help="Photos worked on at once, in each worker."),
    ] = 2,
    per_minute: Annotated[
        int,
        typer.Option("--per-minute", min=1, help="Requests of one key a minute, in each worker."),
    ] = 1200,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            max=64,
            help="Processes that answer, of which each loads its networks; one that dies is "
            "replaced.",
            metavar="NUMBER",
        ),
    ] = 1,
    machine: Machine,
) -> None:
    """Serve galleries over HTTP: REST under /v1, described at /docs.

    The first start prints an administrator's key, once. Stops gracefully at Ctrl-C or SIGTERM.
    """
    if (gallery is None) == (galleries is None):
        raise InputError(
            "It is not said what to serve",
            todo="give --gallery people.faceflow, or --galleries FOLDER/",
        )
    place = gallery or galleries or Path()
    if isinstance(place, Path):
        place = place.absolute()
    if galleries is not None and not galleries.is_dir():
        raise GalleryError(f"There is no folder {galleries}", todo="make it, or check the name")
    _require_extra()
    if query_network is not None:
        _require_student(query_network)
    from faceflow.server import serving
    from faceflow.server.settings import Limits, ServerSettings

    settings = ServerSettings(
        galleries=place,
        state=_absolute(state),
        host=listening.host,
        port=listening.port,
        # Workers stand somewhere else.
        certificate=_absolute(listening.certificate),
        key=_absolute(listening.certificate_key),
        public=listening.public,
        offline=machine.offline,
        threads=machine.threads,
        workers=workers,
        device=chosen_device(machine),
        limits=Limits(searches=searches, per_minute=per_minute),
        origins=tuple(listening.origin or ()),
        query_network=query_network,
        cluster=cluster,
    )
    there = gallery.is_file() if isinstance(gallery, Path) else gallery is None or gallery.exists()
    if not there:
        raise GalleryError(
            f"There is no gallery at {gallery}",
            todo=f"make one with `faceflow enroll PHOTOS/ --gallery {gallery}`",
        )
    serving.log_to_stderr()
    listener = serving.listen(settings)
    key = serving.first_key(settings)
    if key is not None:
        say("The first administrator's key, shown this once and kept nowhere:")
        # On stdout, so that it can be put into a file or a password store.
        sys.stdout.write(f"{key}\n")
        sys.stdout.flush()
    say(f"faceflow serves {place} at {serving.address(settings, listener)} (Ctrl-C stops)")
    serving.run(settings, listener)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def audit_verify(
    state: Annotated[
        Path, typer.Argument(help="A service's state file.", metavar="FILE", exists=False)
    ],
    as_json: Json = False,
) -> None:
    """Check every link of a service's audit log; print where it ends."""
    _require_extra()
    if not state.is_file():
        raise GalleryError(f"There is no state file at {state}", todo="check the name")
    from faceflow.server.audit import verify
    from faceflow.server.state import State

    opened = State(state)
    try:
        number, value = verify(opened)
    finally:
        opened.close()
    if as_json:
        print_json({"entries": number, "hash": value})
    else:
        print_line(f"{number} {value}")


def _require_student(name: str) -> None:
    from faceflow import networks

    if not networks.spec(name).teacher:
        raise InputError(
            f"{name} is no student of another network",
            why="only a student can look at queries in place of a gallery's own network",
            todo="leave --query-network out, or train one: faceflow train covers",
        )


def _require_extra() -> None:
    try:
        import fastapi
        import python_multipart
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            "The service needs packages that are not installed",
            why=f"there is no {error.name}",
            todo='run: pip install "faceflow[server]"',
        ) from error
    del fastapi, python_multipart, uvicorn
