"""A case as a file: everything that led to its conclusions, to be read without faceflow.

A zip with a page to read or print, the same as JSON, the pictures, the explanations of the
candidates that matter, the entries of the audit log, and the sha256 of every file in
``SHA256SUMS``, which ``sha256sum -c`` checks.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import faceflow
from faceflow.pages import printable, template
from faceflow.server.audit import Entry
from faceflow.server.cases import Case, Decision, sha256

SCHEMA = "faceflow.case/1"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one candidate scored what it scored.

    Attributes:
        face_id: the enrolled face.
        person: id of whose it is.
        explanation: as :func:`faceflow.explain.to_json` gives it.
        picture: the flow picture, PNG.
    """

    face_id: int
    person: str
    explanation: Mapping[str, Any]
    picture: bytes


def decision_json(decision: Decision) -> dict[str, Any]:
    """A decision with the hash that the log notes of it, and all the hash is made of.

    Where the words were erased since, ``erased`` says so: the hash cannot be made again.
    """
    fields = asdict(decision)
    if not fields.pop("erased"):
        return {**fields, "sha256": decision.hash}
    return {**fields, "sha256": decision.hash, "erased": True}


def case_json(case: Case) -> dict[str, Any]:
    """A case as plain values."""
    return {
        "id": case.id,
        "gallery": case.gallery,
        "title": case.title,
        "opened_by": {"key": case.key, "name": case.name},
        "created": case.created,
        "status": case.status.value,
        "outcome": None if case.outcome is None else asdict(case.outcome),
        "decisions": [decision_json(one) for one in case.decisions],
        "erasures": [asdict(one) for one in case.erasures],
        "search": case.search,
    }


def write_case_file(
    case: Case,
    pictures: Mapping[str, bytes],
    reasons: Sequence[Reason],
    entries: Sequence[Entry],
    head: tuple[int, str],
    made: datetime | None = None,
) -> bytes:
    """The zip.

    Args:
        case: as its reader may see it, with nothing hidden.
        pictures: name -> content.
        reasons: of the candidates that matter.
        entries: of the audit log, about this case and its search.
        head: number and hash of the log's last entry, against which a later log can be held.
        made: when; default: now.
    """
    made = made or datetime.now(UTC)
    files: dict[str, bytes] = {f"pictures/{name}": content for name, content in pictures.items()}
    for reason in reasons:
        files[f"pictures/flow-{reason.face_id}.png"] = reason.picture
        files[f"explanations/face-{reason.face_id}.json"] = _json(reason.explanation)
    search = case.search
    origin = {
        "faceflow": faceflow.__version__,
        "network": search.get("network"),
        "digest": search.get("digest"),
        "gallery_revision": search.get("revision"),
        "photo_sha256": search.get("query", {}).get("photo"),
        "options": search.get("options"),
    }
    excerpt = {
        "head": {"number": head[0], "hash": head[1]},
        "entries": [asdict(entry) for entry in entries],
    }
    files["case.json"] = _json(
        {
            "schema": SCHEMA,
            "made": made.isoformat(),
            **case_json(case),
            "origin": origin,
            "audit": excerpt,
        }
    )
    files["index.html"] = _page(case, pictures, reasons, origin, excerpt, made).encode()
    sums = "".join(f"{sha256(content)}  {name}\n" for name, content in sorted(files.items()))
    files["SHA256SUMS"] = sums.encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{case.id}/{name}", made.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return out.getvalue()


def _page(
    case: Case,
    pictures: Mapping[str, bytes],
    reasons: Sequence[Reason],
    origin: Mapping[str, Any],
    excerpt: Mapping[str, Any],
    made: datetime,
) -> str:
    names = {
        one["person"]["id"]: printable(one["person"]["name"] or one["person"]["id"])
        for one in case.search["candidates"]
    }
    return template("faceflow.server.pages", "templates/case-file.html.j2").render(
        case=case,
        title=printable(case.title),
        names=names,
        candidates=case.search["candidates"][:20],
        more=max(0, len(case.search["candidates"]) - 20),
        pictures=sorted(pictures),
        reasons=reasons,
        origin=origin,
        excerpt=excerpt,
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str).encode()
