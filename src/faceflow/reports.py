"""The reasons behind an answer as files: a flow picture and a page for each query."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from faceflow.analyzer import Face
from faceflow.errors import InputError
from faceflow.explain import Caption, PageRow, explain_match, flow_picture, html_page
from faceflow.files import atomic_write
from faceflow.gallery import Gallery
from faceflow.identification import Matches
from faceflow.images import load_image
from faceflow.matching import MatchOptions

TOP = 5
"""How many people a page shows unless it is said otherwise."""

# Device names that Windows takes for files in any folder.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_LONGEST = 120  # bytes in UTF-8; file systems allow 255, and callers add to a name


@dataclass(frozen=True, slots=True)
class Report:
    """Where the reasons for one query were written.

    Attributes:
        picture: PNG of the flow to the best person's face; None when there was no match.
        page: self-contained HTML page about the best people.
    """

    picture: Path | None
    page: Path


def write_report(
    folder: str | Path,
    name: str,
    query: Face,
    matches: Matches,
    gallery: Gallery,
    options: MatchOptions,
    *,
    top: int = TOP,
    title: str = "",
) -> Report:
    """Explain one answer: ``FOLDER/NAME.png`` for the best person, ``FOLDER/NAME.html`` for more.

    Args:
        folder: made when missing; files of the same names are replaced.
        name: becomes the files' names by :func:`file_name`.
        query: the query's face.
        matches: the answer for it, from :func:`faceflow.identification.identify`.
        gallery: the gallery that was searched.
        options: the options it was searched with.
        top: how many people the page shows.
        title: how the page calls the query; ``name`` when empty.

    Raises:
        InputError: the folder cannot be written.
        GalleryError: a matched face was removed meanwhile.
    """
    place = Path(folder)
    stem = file_name(name)
    decision = decision_text(matches)
    rows = _rows(query, matches, gallery, options, top)
    page = place / f"{stem}.html"
    picture = place / f"{stem}.png" if rows else None
    html = html_page(
        query.crop,
        rows,
        query=title or name,
        decision=decision,
        threshold=matches.threshold,
        network=gallery.header.network_name,
        k=options.k,
    )
    try:
        with atomic_write(page) as file:
            file.write(html.encode("utf-8"))
        if picture is not None:
            best = rows[0]
            caption = Caption(best.person, decision, best.stage1_rank, best.rank)
            image = flow_picture(query.crop, best.crop, best.explanation, caption=caption)
            with atomic_write(picture) as file:
                image.save(file, "PNG", compress_level=4)  # the default takes twice as long
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {place}",
            why=error.strerror or str(error),
            todo="choose a folder that can be written",
        ) from error
    return Report(picture, page)


def _rows(
    query: Face, matches: Matches, gallery: Gallery, options: MatchOptions, top: int
) -> list[PageRow]:
    rows = []
    for match in matches.people[:top]:
        small = gallery.thumbnail(match.face_id)
        rows.append(
            PageRow(
                person=match.person,
                explanation=explain_match(
                    query.features,
                    gallery.features([match.face_id], landmarks=options.needs_landmarks),
                    options,
                ),
                stage1_rank=match.stage1_rank,
                rank=match.rank,
                crop=None if small is None else load_image(small),
                source=gallery.record(match.face_id).source,
            )
        )
    return rows


def decision_text(matches: Matches) -> str:
    """The answer in a few words: "Identified as Ada", "Unknown: ...", ..."""
    if not matches.people:
        return "The gallery is empty"
    best = matches.people[0]
    if matches.status == "ranked":
        return f"Most like {best.person}; no threshold was given, so nothing is decided"
    reached = f"{best.score:.3f} against the threshold {matches.threshold:.3f}"
    if matches.status == "unknown":
        return f"Unknown: the best score is {reached}"
    return f"Identified as {best.person}: {reached}"


def file_name(text: str) -> str:
    """A file name, without ending, that is safe on every system and says what ``text`` says.

    Letters and digits of any script, ``-`` and ``_`` stay; everything else, path separators
    and dots included, becomes ``-``. A text that was changed or cut gets a short hash, so that
    different texts give different names.

    Example:
        >>> file_name("Ada_0001")
        'Ada_0001'
        >>> file_name("../../etc/passwd")
        'etc-passwd-ab8f4a'
    """
    plain = unicodedata.normalize("NFC", text)
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in plain)
    kept = re.sub("-{2,}", "-", kept).strip("-")
    kept = kept.encode("utf-8")[:_LONGEST].decode("utf-8", "ignore")
    if kept and kept == plain and not _RESERVED.fullmatch(kept):
        return kept
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{kept}-{digest}" if kept else digest
