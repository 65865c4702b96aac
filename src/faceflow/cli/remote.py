"""``--server URL``: the same questions, asked of a service.

A key is never taken on the command line, where every user of the machine can read it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from faceflow.cli.options import Place, Scoring
from faceflow.cli.output import Progress, say
from faceflow.errors import FaceflowError, InputError, MissingExtraError

if TYPE_CHECKING:
    from faceflow.cli.answers import Answer
    from faceflow.gallery.enrolment import EnrolmentReport, Listing, Photo, Skip
    from faceflow.quality import Quality
    from faceflow.server import schemas
    from faceflow.server.client import Client, ServiceError

KEY = "FACEFLOW_KEY"
_PANEL = "Asking a service"
_PATIENCE = 120.0
"""Seconds to wait for a busy service before a photo counts as failed."""
_JOB_PHOTOS = 50
_JOB_BYTES = 64 << 20
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Remote:
    """Which service is asked in place of this machine, and with what."""

    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            envvar="FACEFLOW_SERVER",
            help="Ask the service at this address; --gallery is then its gallery's name there. "
            f"The key is read from the environment variable {KEY}, or from --key-file.",
            metavar="URL",
            rich_help_panel=_PANEL,
        ),
    ] = None
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--key-file",
            envvar="FACEFLOW_KEY_FILE",
            help="A file that holds the key and nothing else.",
            metavar="FILE",
            rich_help_panel=_PANEL,
        ),
    ] = None
    authority: Annotated[
        Path | None,
        typer.Option(
            "--authority",
            envvar="FACEFLOW_AUTHORITY",
            help="PEM file of the authority behind the service's certificate (default: those that "
            "the system trusts).",
            metavar="FILE",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def client(self) -> Client:
        """The service.

        Raises:
            InputError: no key, or an address that is none.
            MissingExtraError: the packages of the extra "server" are not installed.
        """
        try:
            from faceflow.server.client import Client
        except ImportError as error:
            raise MissingExtraError(
                "Asking a service needs packages that are not installed",
                why=f"there is no {error.name}",
                todo='run: pip install "faceflow[server]"',
            ) from error
        assert self.server is not None
        client = Client(self.server, self._key(), certificate=self.authority, patience=_PATIENCE)
        if self.server.startswith("http://") and not _is_here(self.server):
            say(
                f"{self.server} is not encrypted: whoever is in between can read the key and the "
                "faces",
                label="note",
                style="yellow",
            )
        return client

    def _key(self) -> str:
        if self.key_file is not None:
            try:
                return self.key_file.read_text("ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is no text"
                raise InputError(f"The key file {self.key_file} cannot be read", why=why) from None
        key = os.environ.get(KEY, "").strip()
        if not key:
            raise InputError(
                "The service wants a key",
                todo=f"put it into the environment variable {KEY}, or into a file of your own "
                "and give --key-file FILE",
            )
        return key


def gallery_name(gallery: Place) -> str:
    """What a gallery is called at a service: "people" for people and for people.faceflow.

    Raises:
        InputError: a folder or a database, which no service's gallery is called like.
    """
    if not isinstance(gallery, Path) or len(gallery.parts) != 1:
        raise InputError(
            f"{gallery} is no name of a service's gallery",
            todo="with --server give its name there: --gallery people",
        )
    return gallery.name.removesuffix(".faceflow")


def question(scoring: Scoring, threshold: float | None) -> dict[str, Any]:
    """Options of scoring as a service takes them.

    Raises:
        InputError: one that it does not offer.
    """
    wanted: dict[str, Any] = {
        name: getattr(scoring, name, None)
        for name in ("alpha", "weighting", "k", "patches", "visible_share", "epsilon")
    }
    refuse("--grid", scoring.grid)
    refuse("--best-faces", None if getattr(scoring, "best_faces", 1) == 1 else True)
    wanted["threshold"] = threshold
    return {name: value for name, value in wanted.items() if value is not None}


def refuse(option: str, value: object) -> None:
    """Raise InputError where an option was given that a service does not offer."""
    if value is not None:
        raise InputError(
            f"{option} is not offered by a service", todo="leave it out, or leave out --server"
        )


# Identification


def searches(
    client: Client,
    gallery: str,
    photos: Iterable[Path],
    *,
    face: str,
    options: dict[str, Any],
) -> Iterator[tuple[Path, list[Answer]]]:
    """The answers for each photo, in order: one for each face, or one failure.

    Raises:
        ServiceError: what concerns all photos: no such gallery, a key that may not.
    """
    from faceflow.system.side_by_side import in_order

    def ask(photo: Path) -> list[Answer]:
        return _ask(client, gallery, photo, face, options)

    yield from in_order(ask, photos, threads=_AT_ONCE, ahead=2 * _AT_ONCE)


def _ask(
    client: Client, gallery: str, photo: Path, face: str, options: dict[str, Any]
) -> list[Answer]:
    from faceflow.cli.answers import Answer
    from faceflow.errors import ImageError
    from faceflow.server.client import ServiceError

    try:
        if face != "all":
            found = client.search(gallery, photo, face=face, **options)
            return [_answer(photo, (1, 1), found)]
        found = client.search(gallery, photo, face=0, **options)
        count = len(found.query.faces)
        rest = (client.search(gallery, photo, face=n, **options) for n in range(1, count))
        return [
            _answer(photo, (place, count), one) for place, one in enumerate((found, *rest), start=1)
        ]
    except ServiceError as error:
        told = _about_photo(error)
        if told is None:
            raise
        return [Answer.of_failure(photo, told)]
    except ImageError as error:  # it cannot be read here
        return [Answer.of_failure(photo, error)]


def _about_photo(error: ServiceError) -> FaceflowError | None:
    """What a service says of a photo, as the library says it; None for what concerns all."""
    from faceflow.errors import ImageError, NoFaceError

    kinds: dict[str, type[FaceflowError]] = {
        "no-face": NoFaceError,
        "image": ImageError,
        "too-large": ImageError,
    }
    kind = kinds.get(error.code)
    return None if kind is None else kind(error.what, why=error.why, todo=error.todo)


def _answer(photo: Path, place: tuple[int, int], search: schemas.Search) -> Answer:
    from faceflow.cli.answers import Answer
    from faceflow.matching.identification import PersonMatch

    face = search.query.faces[search.query.chosen]
    rejected = {one.person.id for one in search.rejected}
    people = [
        PersonMatch(
            person=one.person.name or one.person.id,
            score=one.score,
            cosine=one.parts.cosine,
            emd=one.parts.emd,
            stage1_rank=one.stage1_rank,
            rank=one.rank,
            face_id=one.face_id,
            faces=1,
            visible_cosine=one.parts.visible_cosine,
        )
        for one in search.candidates
        # Somebody looked and said that it is not them.
        if one.person.id not in rejected
    ]
    return Answer(
        photo,
        search.status,
        *place,
        box=face.box,
        score=face.detection_score,
        source=face.source,
        threshold=search.threshold,
        people=tuple(people),
        quality=_quality(face),
        patch_model=search.options.patch_model,
        ranked_by=search.ranked_by,
        query_network=search.query_network,
        search=search.id,
    )


def _quality(face: schemas.QueryFace) -> Quality:
    from faceflow.quality import Quality

    x0, y0, x1, y1 = face.box
    told = face.quality
    return Quality(
        size=(max(0.0, x1 - x0) * max(0.0, y1 - y0)) ** 0.5,
        sharpness=told.sharpness or 0.0,
        yaw=None if told.pose is None else told.pose.get("yaw"),
        detection=face.detection_score if face.source == "detected" else None,
        length=told.embedding_length,
        visible=told.visible_share,
    )


# Enrolment


def enroll(client: Client, gallery: str, listing: Listing, advance: Progress) -> EnrolmentReport:
    """Enroll photos in jobs of some photos each.

    As on this machine the largest face of each photo is taken whatever its quality.

    Raises:
        ServiceError: what concerns all photos.
    """
    from faceflow.gallery.enrolment import Crowd, EnrolmentReport, Skip

    skipped, crowds = list(listing.skipped), list[Crowd]()
    added = duplicates = done = 0
    total = len(listing.photos)
    advance(0, total)
    for batch in _batches(listing.photos, skipped):
        job = client.enroll_many(
            gallery,
            [(photo.person, (photo.path.name, data)) for photo, data in batch],
            accept=("several faces", "too small", "blurred", "extreme pose", "mostly covered"),
        )
        for told in _watch(client, gallery, job.id):
            photo = batch[told.number][0]
            done += 1
            advance(done, total)
            if told.outcome == "added":
                added += 1
                if "several faces" in told.warnings:
                    # How many faces is not told.
                    crowds.append(Crowd(photo.path, photo.person, 0, "largest"))
            elif told.outcome == "duplicate":
                duplicates += 1
            else:
                skipped.append(Skip(photo.path, photo.person, _skipped(photo.path, told)))
    return EnrolmentReport(
        total + len(listing.skipped), added, duplicates, tuple(skipped), tuple(crowds), ()
    )


def _watch(client: Client, gallery: str, job: str) -> Iterator[schemas.JobPhoto]:
    """What becomes of each photo; goes on where it was when the service is started anew."""
    seen = 0
    while True:
        for number, photo in client.watch(gallery, job, after=seen):
            seen = number
            yield photo
        now = client.job(gallery, job)
        if now.finished is not None and now.done == seen:
            return


def _batches(photos: Sequence[Photo], skipped: list[Skip]) -> Iterator[list[tuple[Photo, bytes]]]:
    """Photos with their bytes, as many as go into one job; those that cannot be read are noted."""
    from faceflow.errors import ImageError
    from faceflow.faces.images import read_photo
    from faceflow.gallery.enrolment import Skip
    from faceflow.server.client import check_job_name

    batch, size = list[tuple["Photo", bytes]](), 0
    for photo in photos:
        try:
            check_job_name(photo.person)
            data = read_photo(photo.path)
        except (ImageError, InputError) as error:
            skipped.append(Skip(photo.path, photo.person, error))
            continue
        if batch and (len(batch) >= _JOB_PHOTOS or size + len(data) > _JOB_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((photo, data))
        size += len(data)
    if batch:
        yield batch


def _skipped(path: Path, told: schemas.JobPhoto) -> FaceflowError:
    from faceflow.errors import ImageError, NoFaceError

    kinds: dict[str, type[FaceflowError]] = {"no face": NoFaceError, "unreadable": ImageError}
    kind = kinds.get(told.reason or "", FaceflowError)
    what = "No face was found in" if kind is NoFaceError else "The service left out"
    return kind(f"{what} {path}", why=told.detail or told.reason or "")


def _is_here(url: str) -> bool:
    from faceflow.server.settings import is_loopback

    return is_loopback(urlsplit(url).hostname or "")
