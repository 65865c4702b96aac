"""``faceflow cluster bulk-enroll``: what it asks of the library, and how it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faceflow.cluster import bulk
from faceflow.errors import ImageError
from faceflow.gallery.enrolment import EnrolmentReport, PhotoOutcome, Skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command hands over; the enrolment itself is tested with Ray in tests/cluster."""
    seen: dict[str, Any] = {}

    def enroll(sources: list[str], location: object, **options: Any) -> EnrolmentReport:
        seen.update(options, sources=sources, location=str(location))
        options["tell"](PhotoOutcome("a.jpg", "Ada", "added", face_id=1, faces=1))
        options["progress"](1, None)
        skip = Skip(Path("b.jpg"), "Ada", ImageError("b.jpg is not an image"))
        return EnrolmentReport(2, seen.get("added", 1), 0, (skip,), (), ())

    monkeypatch.setattr(bulk, "enroll", enroll)
    return seen


def test_what_it_asks_for(run, asked: dict[str, Any], tmp_path: Path) -> None:
    report = tmp_path / "report.csv"
    ran = run(
        *("cluster", "bulk-enroll", "s3://bucket/people", "more.tar", "--report", report),
        *("-g", "postgresql://u:s3cret@h/db", "--cluster", "head:6379", "--workers", 3),
        *("--device", "cuda", "--face", "centre", "--offline"),
    )
    assert asked["sources"] == ["s3://bucket/people", "more.tar"]
    assert asked["location"] == "postgresql://u@h/db"
    assert (asked["address"], asked["workers"]) == ("head:6379", bulk.Workers(3, "cuda"))
    assert (asked["select"], asked["offline"], asked["person"]) == ("centre", True, None)
    assert "2 photos: 1 face added to postgresql://u@h/db, 1 photo left out" in ran.out
    assert "b.jpg is not an image" in ran.err
    assert "s3cret" not in ran.out + ran.err
    assert report.read_text().splitlines()[1].startswith("a.jpg,Ada,added")


def test_nothing_enrolled_is_a_failure(run, asked: dict[str, Any], tmp_path: Path) -> None:
    asked["added"] = 0
    run("cluster", "bulk-enroll", "x", "--report", tmp_path / "r.csv", code=3)
