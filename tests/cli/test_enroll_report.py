"""``faceflow enroll --report`` and tar files."""

from __future__ import annotations

import csv
import tarfile
from pathlib import Path


def test_a_tar_file_with_a_report(run, loaded, drawn: Path, tmp_path: Path) -> None:
    shard, place = tmp_path / "people.tar", tmp_path / "report.csv"
    with tarfile.open(shard, "w") as tar:
        for path in sorted((drawn / "people").rglob("*.png"))[:3]:
            tar.add(path, path.relative_to(drawn / "people"))
        tar.add(path, "loose.png")
    gallery = tmp_path / "g.faceflow"
    run("enroll", shard, "-g", gallery, "--report", place)
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["outcome"], row["face_id"]) for row in rows] == [
        ("skipped", ""),
        ("added", "1"),
        ("added", "2"),
        ("added", "3"),
    ]
    assert (
        "no.txt" in run("enroll", shard, "-g", gallery, "--report", tmp_path / "no.txt", code=2).err
    )
