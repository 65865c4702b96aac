"""``faceflow export`` and ``import``: tables, and embeddings of other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


def test_a_table_there_and_back(run, gallery: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table, again = tmp_path / "people.parquet", tmp_path / "again.faceflow"
    assert (
        "exported 8 faces of 4 people" in run("export", table, "--with-patches", "-g", gallery).out
    )
    run("export", table, "-g", gallery, code=5)
    run("export", table, "--with-patches", "--with-thumbnails", "--force", "-g", gallery)
    assert run("import", table, "-g", again, "--json").json["faces"] == 8
    people = [run("people", "-g", place, "--json").json["people"] for place in (gallery, again)]
    assert people[0] == people[1]


def test_embeddings_of_others(run, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 256))
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "p.csv").write_text("person\nAda\nBo\nCy\n")
    place = tmp_path / "g.faceflow"
    ran = run("import", tmp_path / "v.npy", "-g", place, code=5)
    assert "--network" in ran.err
    ran = run("import", tmp_path / "v.npy", "--names", tmp_path / "p.csv", "-g", place, code=2)
    assert "--detector" in ran.err
    ran = run(
        *("import", tmp_path / "v.npy", "--names", tmp_path / "p.csv", "-g", place),
        *("--network", "lightcnn-v4", "--detector", "centerface"),
    )
    assert "imported 3 faces of 3 people" in ran.out
    assert "embeddings alone" in ran.out
