"""The ``cluster`` commands: a gallery's shards on Ray, and how large a cluster has to be."""

from __future__ import annotations

import functools
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from faceflow.cli.enrolling import enroll as enroll_photos
from faceflow.cli.loading import as_location, require_gallery
from faceflow.cli.options import CLUSTER, DEFAULT_GALLERY, FACES, GalleryPath, Json, Spread, said
from faceflow.cli.output import plural, print_json, print_line, print_table, say, size
from faceflow.cli.serving import serve as serve_here

if TYPE_CHECKING:
    from faceflow.cluster.plan import Plan

_AUTO = "auto"

_ENROLL = """Add people's photos to a gallery and to its shards.

As `faceflow enroll --cluster`, but the default is auto: when it ends, every replica has the new
faces. After an interruption run it again: photos that are in the gallery already are skipped by
their content.
"""

_SERVE = """Serve a gallery over HTTP, with the searching done by its shards.

As `faceflow serve --cluster`, but the default is auto.
"""

REPLICAS = typer.Option(
    "--replicas",
    min=1,
    help="Copies of each part; with 2 any one process or machine can be lost.",
    metavar="NUMBER",
)
HOLD = typer.Option(
    "--hold",
    help="What shards keep in memory; with patches they search without the database, in about "
    "eight times the memory.",
)
Cluster = Annotated[str, said(CLUSTER, " (default: auto)")]
Hold = Annotated[Literal["embeddings", "patches"], HOLD]


def start(
    *,
    gallery: GalleryPath = DEFAULT_GALLERY,
    cluster: Annotated[
        str | None, said(CLUSTER, " (default: one of its own here, until Ctrl-C)")
    ] = None,
    shards: Annotated[
        int, typer.Option("--shards", min=1, help="Parts of the gallery.", metavar="NUMBER")
    ] = 2,
    replicas: Annotated[int, REPLICAS] = 1,
    hold: Hold = "embeddings",
    cpus: Annotated[
        float,
        typer.Option(
            "--cpus", min=0.01, help="CPUs that each copy is given room for.", metavar="NUMBER"
        ),
    ] = 1.0,
    as_json: Json = False,
) -> None:
    """Start the shards of a gallery on a Ray cluster, and wait until they have loaded it.

    They stay there, and Ray starts them again when they die, until `faceflow cluster drain`.
    Without --cluster a cluster of this machine's own is started, which nobody else reaches and
    which ends with this command.
    """
    from faceflow.cluster import deployment
    from faceflow.cluster.joining import LOCAL, joined

    require_gallery(gallery)
    layout = deployment.Layout(shards, replicas, hold, cpus)
    place = as_location(gallery)
    room = max(1, int(shards * replicas * cpus + 0.999))
    with joined(cluster or LOCAL, cpus=None if cluster else room) as address:
        standing = deployment.start(place, layout, told=say)
        if as_json:
            print_json({"cluster": address, "shards": [asdict(one) for one in standing]})
        else:
            print_line(
                f"{plural(sum(one.faces for one in standing) // replicas, 'face')} of {gallery} in "
                f"{plural(shards, 'shard')}, {plural(replicas, 'replica')} each"
            )
        if cluster is None:
            say(f"search with --gallery {gallery} --cluster {address} (Ctrl-C ends it)")
            _wait(place)


def _wait(place: object) -> None:
    """Until the shards are drained, or Ctrl-C."""
    from faceflow.cluster import deployment
    from faceflow.gallery import GalleryLocation
    from faceflow.gallery.stores.opening import open_store

    assert isinstance(place, GalleryLocation)
    store = open_store(place, readonly=True)
    try:
        while deployment.is_there(store):
            time.sleep(1)
    finally:
        store.close()


def status(
    *,
    gallery: GalleryPath = DEFAULT_GALLERY,
    cluster: Cluster = _AUTO,
    as_json: Json = False,
) -> None:
    """Show how each replica of a gallery's shards stands; exits with 5 where a shard has none."""
    from faceflow.cluster import deployment
    from faceflow.cluster.joining import joined
    from faceflow.errors import IncompleteGalleryError
    from faceflow.gallery.stores.opening import open_store

    require_gallery(gallery)
    store = open_store(as_location(gallery), readonly=True)
    try:
        with joined(cluster):
            found = deployment.status(store)
        with store.snapshot() as view:
            token = view.token()
    finally:
        store.close()
    rows = []
    for one in found:
        words = "gone"
        if one.standing is not None and one.standing.state is None:
            words = "loading"
        elif one.standing is not None and one.standing.state is not None:
            words = "up to date" if one.standing.state.token == token else "behind"
        rows.append((one, words))
    if as_json:
        print_json(
            [
                {
                    "shard": one.shard,
                    "replica": one.replica,
                    "status": words,
                    "standing": one.standing and asdict(one.standing),
                    "where": one.where and asdict(one.where),
                }
                for one, words in rows
            ]
        )
    else:
        print_table(
            ("shard", "replica", "status", "faces", "memory", "machine", "process"),
            [
                (
                    str(one.shard),
                    str(one.replica),
                    words,
                    "-" if one.standing is None else f"{one.standing.faces:,}",
                    "-" if one.where is None else size(one.where.resident),
                    "-" if one.where is None else one.where.host,
                    "-" if one.where is None else str(one.where.pid),
                )
                for one, words in rows
            ],
            right=("faces", "memory", "process"),
        )
    there = {one.shard for one, words in rows if words in ("up to date", "behind")}
    gone = sorted({one.shard for one, _ in rows} - there)
    if gone:
        raise IncompleteGalleryError(
            f"no replica of shard {', '.join(map(str, gone))} answers",
            todo="Ray starts them again by itself; see `ray status` if it does not",
        )
    if any(words == "behind" for _, words in rows):
        say("what is behind catches up before it answers the next search")


@functools.wraps(enroll_photos)
def enroll(**given: Any) -> None:
    """See :data:`_ENROLL`, which help shows."""
    spread: Spread = given["spread"]
    given["spread"] = replace(spread, cluster=spread.cluster or _AUTO)
    enroll_photos(**given)


enroll.__doc__ = _ENROLL


@functools.wraps(serve_here)
def serve(**given: Any) -> None:
    """See :data:`_SERVE`, which help shows."""
    given["cluster"] = given["cluster"] or _AUTO
    serve_here(**given)


serve.__doc__ = _SERVE


def drain(
    *,
    gallery: GalleryPath = DEFAULT_GALLERY,
    cluster: Cluster = _AUTO,
    as_json: Json = False,
) -> None:
    """End the shards of a gallery when they have answered what they were asked.

    The gallery itself stays as it is.
    """
    from faceflow.cluster import deployment
    from faceflow.cluster.joining import joined
    from faceflow.gallery.stores.opening import open_store

    require_gallery(gallery)
    store = open_store(as_location(gallery), readonly=True)
    try:
        with joined(cluster):
            ended = deployment.drain(store)
    finally:
        store.close()
    if as_json:
        print_json({"gallery": str(gallery), "ended": ended})
    else:
        print_line(f"{plural(ended, 'process', 'processes')} of {gallery} ended")


def plan(
    *,
    faces: Annotated[str, said(FACES, "; e.g. 250000, 100M or 1B")],
    qps: Annotated[
        float, typer.Option("--qps", help="Searches a second.", metavar="NUMBER")
    ] = 100.0,
    replicas: Annotated[int, REPLICAS] = 2,
    memory: Annotated[
        float, typer.Option("--memory", help="GB of memory of a machine.", metavar="GB")
    ] = 64.0,
    cores: Annotated[
        int, typer.Option("--cores", min=1, help="Physical cores of a machine.", metavar="NUMBER")
    ] = 16,
    hold: Hold = "embeddings",
    as_json: Json = False,
) -> None:
    """Say how large a cluster has to be, by arithmetic over costs that were measured.

    Shown are machines, memory, disk and network. docs/capacity.md explains every line and what the
    numbers do not know.
    """
    from faceflow.cluster import plan as planning

    found = planning.plan(
        planning.Demand(planning.parse_count(faces), qps, replicas, hold=hold),
        planning.Machine(memory=memory * planning.GB, cores=cores),
    )
    if as_json:
        print_json(asdict(found))
        return
    for name, value in lines(found):
        print_line(f"{name:28} {value}")


def lines(found: Plan) -> list[tuple[str, str]]:
    """A plan in words and numbers."""
    return [
        ("machines", f"{found.machines:,} (decided by {found.because})"),
        ("shards", f"{found.shards:,}"),
        ("memory on each machine", size(found.memory_per_machine)),
        ("memory of all", size(found.memory_per_machine * found.machines)),
        ("disk of the database", size(found.disk_bytes)),
        ("CPU of a search", f"{found.cpu_ms:,.0f} ms, of these {found.stage1_cpu_ms:,.0f} stage 1"),
        ("cores that are busy", f"{found.cores:,.0f}"),
        ("a search takes about", f"{found.latency_ms:,.0f} ms"),
        ("network of a search", size(found.query_bytes)),
        ("network in all", f"{size(found.network)} a second"),
        ("read from the database", f"{size(found.database_bytes)} a second"),
        ("loading after a start", f"{found.loading_seconds:,.0f} s"),
        ("from the database meanwhile", f"{size(found.database_loading)} a second"),
    ]
