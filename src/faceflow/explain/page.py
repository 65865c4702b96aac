"""One self-contained HTML page about a query and its top matches.

The page loads nothing and runs nothing but its own few lines of script: images are data URIs,
style and script are inline, and a content security policy allows exactly these by their
hashes. It reads well without the script.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from faceflow import __version__
from faceflow.arrays import UInt8
from faceflow.explain.drawing.heat import heat_note, heat_row
from faceflow.explain.drawing.panels import (
    blank_face,
    check_crop,
    draw_grid,
    face_size,
    place_map,
    rebuild,
    resize,
)
from faceflow.explain.explanation import Explanation
from faceflow.explain.words import (
    NOT_PROOF,
    Caption,
    moved,
    notes_on,
    number,
    ranks,
    settings_line,
)
from faceflow.pages import asset, printable, template

FACE_HEIGHT, FACE_WIDTH = 256, 320  # pixels; the page shows faces at most this large
THUMBNAIL = 88
_HERE = "faceflow.explain"
_FLOW_UNIT = 1e6  # flows go to the script as whole millionths of the mass


@dataclass(frozen=True, slots=True, eq=False)
class PageRow:
    """One match on the page.

    Attributes:
        person: the name the gallery face is enrolled under.
        explanation: from :func:`faceflow.explain.explain_pair`.
        stage1_rank: rank by cosine alone, from 1; None where nothing was ranked.
        rank: rank after comparing patches, from 1; likewise.
        crop: (H, W, 3) uint8, the gallery face's thumbnail; None when none is kept.
        source: where the photo came from, shown as it is.
    """

    person: str
    explanation: Explanation
    stage1_rank: int | None = None
    rank: int | None = None
    crop: UInt8 | None = None
    source: str = ""


def html_page(
    query_crop: UInt8,
    rows: Sequence[PageRow],
    *,
    query: str = "",
    decision: str = "",
    threshold: float | None = None,
    network: str = "",
    query_network: str = "",
    k: int | None = None,
) -> str:
    """Write the page.

    Args:
        query_crop: (H, W, 3) uint8 RGB, aligned as the network saw it.
        rows: the matches to show, best first; may be empty.
        query: the query's name, e.g. its file name.
        decision: what was decided, e.g. "Identified as Ada" or "Unknown".
        threshold: the least score that counts as identified, if any.
        network: name of the face network.
        query_network: the student that looked at the query, if any.
        k: how many faces were re-ranked.

    Returns:
        A complete HTML document. Every text is escaped; write it to a file as UTF-8.

    Raises:
        InputError: a crop is not (H, W, 3) uint8.
    """
    check_crop("query", query_crop)
    style, script = asset(_HERE, "templates/page.css"), asset(_HERE, "templates/page.js")
    return template(_HERE, "templates/page.html.j2").render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        query=printable(query),
        decision=printable(decision),
        thumbnail=_jpeg(_shrunk(query_crop)),
        settings=_settings(rows, threshold, (network, query_network), k),
        ranked=any(row.rank is not None for row in rows),
        columns=_columns(rows),
        matches=[_match(query_crop, row, place) for place, row in enumerate(rows, start=1)],
        not_proof=NOT_PROOF,
        version=__version__,
    )


def _settings(
    rows: Sequence[PageRow], threshold: float | None, used: tuple[str, str], k: int | None
) -> list[tuple[str, str]]:
    """(name, value) of everything needed to get the same numbers again."""
    found: list[tuple[str, object]] = [
        ("faceflow", __version__),
        ("face network", used[0]),
        ("the query's network", used[1]),
        ("faces re-ranked (k)", k),
        ("threshold", threshold),
    ]
    if rows:
        first = rows[0].explanation
        options = [(name, value) for name, value in first.solver.items() if name != "name"]
        found += [
            ("patch grid", f"{first.grid[0]}x{first.grid[1]}"),
            ("weights", first.weighting),
            ("alpha", f"{first.alpha:g}"),
            ("transport", first.solver["name"]),
            *((name.replace("_", " "), value) for name, value in options),
        ]
    return [(name, printable(str(value))) for name, value in found if value not in ("", None)]


def _match(query_crop: UInt8, row: PageRow, place: int) -> dict[str, Any]:
    """Everything the template shows of one match."""
    explanation = row.explanation
    caption = Caption(printable(row.person), stage1_rank=row.stage1_rank, rank=row.rank)
    return {
        "place": place,
        "person": caption.person,
        "source": printable(row.source),
        "rank": row.rank,
        "stage1_rank": row.stage1_rank,
        "ranks": ranks(caption),
        "score": number(explanation.score),
        "terms": _terms(explanation),
        **_pictures(query_crop, row, caption),
        "settings_line": settings_line(explanation),
        "moved": moved(explanation),
        "data": _data(explanation),
    }


def _columns(rows: Sequence[PageRow]) -> dict[str, str]:
    """Key and name of every term that counts in a match: with them the table's rows add up."""
    longest = max((row.explanation.terms for row in rows), key=len, default=())
    return {term.key: term.name for term in longest}


def _terms(explanation: Explanation) -> list[dict[str, str]]:
    """What each similarity adds, with its place in a bar 100 wide."""
    found, x = [], 0.0
    for term in explanation.terms:
        width = min(100 - x, max(0.0, 100 * term.part))
        found.append(
            {
                "key": term.key,
                "name": term.name,
                "value": number(term.value),
                "share": number(term.share, 2),
                "part": number(term.part),
                "x": f"{x:.2f}",
                "width": f"{width:.2f}",
            }
        )
        x += width
    return found


def _pictures(query_crop: UInt8, row: PageRow, caption: Caption) -> dict[str, Any]:
    """The flow picture's three faces and the heatmaps, as data URIs with their words."""
    e = row.explanation
    size = face_size(query_crop.shape, e.grid, FACE_HEIGHT, FACE_WIDTH)
    query = resize(query_crop, size)
    name = caption.person or "the gallery face"
    if row.crop is None:
        gallery, photo = blank_face(size), None
        middle = place_map(e.best_match, e.brightness, e.grid, size)
        alts = (
            "For each query patch, a dot at the place its largest flow goes to",
            "Empty grid: the gallery keeps no photo of this face",
        )
    else:
        check_crop("gallery", row.crop)
        fitted = face_size(row.crop.shape, e.grid, FACE_HEIGHT, FACE_WIDTH)
        gallery = photo = resize(row.crop, fitted)
        middle = Image.fromarray(rebuild(resize(gallery, size), e.best_match, e.brightness, e.grid))
        alts = (f"The query rebuilt from patches of {name}", f"Gallery face: {name}")
    notes = notes_on(caption, photo is not None)
    titles = ("Query", "Rebuilt from the gallery face", "Gallery face")
    texts = ("The face as the network sees it.", *notes)
    images = (Image.fromarray(query), middle, Image.fromarray(gallery))
    faces = [
        {"title": title, "note": note, "alt": alt, "side": side, **_shown(image, e)}
        for title, note, alt, side, image in zip(
            titles,
            texts,
            ("Aligned face of the query", *alts),
            ("query", "query", "gallery"),
            images,
            strict=True,
        )
    ]
    gallery_size = (int(gallery.shape[0]), int(gallery.shape[1]))
    heats = [
        heat
        and {
            "title": heat.title,
            "alt": heat.alt,
            "side": heat.side,
            "low": heat.low,
            "high": heat.high,
            "ramp": _png(heat.ramp),
            **_shown(heat.image, e),
        }
        for heat in heat_row(query, photo, gallery_size, e)
    ]
    return {
        "faces": faces,
        "has_photo": photo is not None,
        "heats": heats,
        "heat_note": heat_note(e),
    }


def _shown(image: Image.Image, explanation: Explanation) -> dict[str, Any]:
    uri = _jpeg(draw_grid(image, explanation.grid))
    return {"uri": uri, "width": image.width, "height": image.height}


def _data(explanation: Explanation) -> dict[str, Any]:
    """What the script needs to show where a cell's weight goes."""
    return {
        "grid": list(explanation.grid),
        "flow": np.rint(explanation.flow * _FLOW_UNIT).astype(np.int64).ravel().tolist(),
        "u": explanation.u.round(6).tolist(),
        "v": explanation.v.round(6).tolist(),
        "query": explanation.query_contributions.round(6).tolist(),
        "gallery": explanation.gallery_contributions.round(6).tolist(),
    }


def _shrunk(crop: UInt8) -> Image.Image:
    size = face_size(crop.shape, (1, 1), 2 * THUMBNAIL, 2 * THUMBNAIL)
    return Image.fromarray(resize(crop, size))


def _jpeg(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _png(colours: UInt8) -> str:
    file = io.BytesIO()
    Image.fromarray(colours[None]).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _policy(style: str, script: str) -> str:
    """A content security policy that allows this style and this script and nothing else."""
    hashes = [
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )
