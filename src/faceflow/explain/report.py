"""The reasons behind an answer as files: a flow picture and a page for each query."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from faceflow.analyzer import Face
from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain import Caption, PageRow, explain_pair, flow_picture, html_page, to_json
from faceflow.explain.drawing.picture import PARTS, WEIGHTS
from faceflow.faces.images import load_image
from faceflow.gallery import Gallery
from faceflow.matching.identification import Matches
from faceflow.matching.options import MatchOptions
from faceflow.system.files import atomic_write

ENDINGS = (".html", ".png", ".json")
"""Of files that reasons can be written to."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Reasons:
    """Why an answer is what it is: the query's face, explained against each of its matches.

    Attributes:
        query: what the query is called, e.g. its file's name.
        crop: (H, W, 3) uint8 RGB, the query's face as the network saw it.
        rows: the matches with their explanations, best first; empty when there are none.
        decision: the answer in words.
        threshold: the threshold that decided, if any.
        network: name of the face network.
        query_network: the student that looked at the query; empty where it was ``network``.
        k: how many faces were re-ranked; None where two photos were compared.
    """

    query: str
    crop: UInt8
    rows: tuple[PageRow, ...]
    decision: str = ""
    threshold: float | None = None
    network: str = ""
    query_network: str = ""
    k: int | None = None

    def page(self) -> str:
        """A self-contained HTML page about all matches."""
        return html_page(
            self.crop,
            self.rows,
            query=self.query,
            decision=self.decision,
            threshold=self.threshold,
            network=self.network,
            query_network=self.query_network,
            k=self.k,
        )

    def picture(self, *, lines: bool = False) -> Image.Image:
        """The flow picture of the best match, an RGB image.

        Args:
            lines: also draw the strongest flows as lines between the faces.

        Raises:
            InputError: there is no match to draw.
        """
        if not self.rows:
            raise InputError(
                "There is no match to draw", why="the gallery is empty", todo="enroll people first"
            )
        best = self.rows[0]
        caption = Caption(best.person, self.decision, best.stage1_rank, best.rank)
        return flow_picture(
            self.crop,
            best.crop,
            best.explanation,
            caption=caption,
            parts=PARTS if lines else WEIGHTS,
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as a dictionary that ``json.dumps`` takes as it is.

        ``query``, ``decision``, ``threshold``, ``network``, ``query_network``, ``k``, and
        ``matches``: for each ``person``, ``source``, ``stage1_rank`` and ``rank`` beside what
        :func:`faceflow.explain.to_json` gives.
        """
        return {
            "query": self.query,
            "decision": self.decision,
            "threshold": self.threshold,
            "network": self.network,
            "query_network": self.query_network or None,
            "k": self.k,
            "matches": [
                {
                    "person": row.person,
                    "source": row.source,
                    "stage1_rank": row.stage1_rank,
                    "rank": row.rank,
                }
                | to_json(row.explanation)
                for row in self.rows
            ],
        }

    def save(self, path: str | Path, *, lines: bool = False) -> Path:
        """Write it as the file's ending says: ``.html``, ``.png`` (the best match) or ``.json``.

        Args:
            path: the file, replaced if there is one.
            lines: as for :meth:`picture`.

        Returns:
            The path. The file appears whole or not at all; its folder is made when missing.

        Raises:
            InputError: another ending, the file cannot be written, or no match to draw.
        """
        place = Path(path)
        content = self._content(place, lines)
        try:
            with atomic_write(place) as file:
                file.write(content)
        except OSError as error:
            raise InputError(
                f"The report cannot be written to {place}",
                why=error.strerror or str(error),
                todo="choose a folder that can be written",
            ) from error
        return place

    def save_report(self, folder: str | Path, name: str) -> Report:
        """Write ``FOLDER/NAME.html`` about all matches and ``FOLDER/NAME.png`` about the best.

        Args:
            folder: made when missing; files of the same names are replaced.
            name: becomes the files' names by :func:`file_name`.

        Raises:
            InputError: the folder cannot be written.
        """
        stem = Path(folder) / file_name(name)
        # Not with_suffix: a name may hold what looks like one.
        page = self.save(f"{stem}.html")
        return Report(self.save(f"{stem}.png") if self.rows else None, page)

    def _content(self, place: Path, lines: bool) -> bytes:
        check_ending(place)
        match place.suffix.lower():
            case ".html":
                return self.page().encode("utf-8")
            case ".png":
                file = io.BytesIO()
                # The default compression takes twice as long.
                self.picture(lines=lines).save(file, "PNG", compress_level=4)
                return file.getvalue()
            case _:
                return json.dumps(self.to_json(), allow_nan=False).encode("ascii")


def check_ending(path: str | Path) -> None:
    """Raise InputError unless reasons can be written to a file of that name."""
    place = Path(path)
    if place.suffix.lower() not in ENDINGS:
        raise InputError(
            f"reasons cannot be written as {place.name!r}",
            todo="end the file's name in .html, .png or .json",
        )


def reasons_for(
    query: Face,
    matches: Matches,
    gallery: Gallery,
    options: MatchOptions,
    *,
    name: str = "",
    query_network: str = "",
    top: int = TOP,
) -> Reasons:
    """Explain the answer for one face against its best people.

    Args:
        query: the query's face.
        matches: the answer for it, from :func:`faceflow.matching.identification.identify`.
        gallery: the gallery that was searched.
        options: the options it was searched with.
        name: what the query is called.
        query_network: the student that looked at it, if any.
        top: how many people to explain.

    Raises:
        GalleryError: a matched face was removed meanwhile.
    """
    return Reasons(
        query=name,
        crop=query.crop,
        rows=tuple(_rows(query, matches, gallery, options, top)),
        decision=decision_text(matches),
        threshold=matches.threshold,
        network=gallery.header.network_name,
        query_network=query_network,
        k=options.k,
    )


def _rows(
    query: Face, matches: Matches, gallery: Gallery, options: MatchOptions, top: int
) -> list[PageRow]:
    rows = []
    for match in matches.people[:top]:
        small = gallery.thumbnail(match.face_id)
        rows.append(
            PageRow(
                person=match.person,
                explanation=explain_pair(
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
    if matches.status == "unsure":
        return f"Unsure, most like {best.person}: the face gives too little to go by"
    reached = f"{best.score:.3f} against the threshold {matches.threshold:.3f}"
    if matches.status == "unknown":
        return f"Unknown: the best score is {reached}"
    return f"Identified as {best.person}: {reached}"


def file_name(text: str) -> str:
    """A file name, without ending, that is safe on every system and says what ``text`` says.

    Letters and digits of any script, ``-`` and ``_`` stay; everything else, path separators
    and dots included, becomes ``-``. A text that was changed or cut gets a short hash, so that
    different texts give different names.

    Examples:
        >>> file_name("Ada_0001")
        'Ada_0001'
        >>> file_name("../../etc/passwd")
        'etc-passwd-3754d6'
    """
    plain = unicodedata.normalize("NFC", text)
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in plain)
    kept = re.sub("-{2,}", "-", kept).strip("-")
    kept = kept.encode("utf-8")[:_LONGEST].decode("utf-8", "ignore")
    if kept and kept == plain and not _RESERVED.fullmatch(kept):
        return kept
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"{kept}-{digest}" if kept else digest


def unused_name(stem: str, taken: set[str]) -> str:
    """The stem, or ``stem-2`` and so on where that is taken; it is taken from now on.

    Upper and lower case are the same here, because some file systems take them for the same.

    Args:
        stem: the name wanted.
        taken: names in use, casefolded; gets the new one.
    """
    names = (stem if n == 1 else f"{stem}-{n}" for n in itertools.count(1))
    name = next(name for name in names if name.casefold() not in taken)
    taken.add(name.casefold())
    return name
