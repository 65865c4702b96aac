"""The demo on drawn people and on a folder of photos."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from drawn_people import write_people
from faceflow.analyzer import FaceAnalyzer
from faceflow.demo import DemoResult, run_demo
from faceflow.errors import InputError
from faceflow.faces import detectors


@pytest.fixture(scope="module")
def drawn(analyzer: FaceAnalyzer, tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    output = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(output=output, analyzer=analyzer, people=4, strangers=1)


def test_drawn_people(drawn: DemoResult) -> None:
    assert drawn.synthetic
    assert (drawn.people, drawn.faces, len(drawn.rows)) == (4, 8, 5)
    assert drawn.left_out == 0
    assert [row.cover for row in drawn.rows] == ["mask", "sunglasses", "crop", "mask", "mask"]
    assert [row.enrolled for row in drawn.rows] == [True] * 4 + [False]
    assert drawn.right >= 3
    assert drawn.first[2] == 4
    assert set(drawn.thresholds) <= {"mask", "sunglasses", "crop"}
    assert "drawn, not real" in drawn.page.read_text("utf-8")


def test_right_means_what_it_says(drawn: DemoResult) -> None:
    for row in drawn.rows:
        assert row.matches is not None
        truth = row.person if row.enrolled else None
        assert row.right == (row.matches.person == truth)
        assert row.ranks is None or row.enrolled


def test_the_reasons_are_those_of_the_answer(drawn: DemoResult) -> None:
    for row in drawn.rows:
        assert row.best is not None
        assert row.report is not None
        page = row.report.page.read_text("utf-8")
        shown = re.search(r"<strong>(-?[\d.]+)</strong> score", page)
        assert shown is not None
        assert float(shown[1]) == pytest.approx(row.best.score, abs=1e-3)
        assert "visible cosine" in page


def test_page_and_files_belong_together(drawn: DemoResult) -> None:
    page = drawn.page.read_text("utf-8")
    linked = {unquote(link) for link in re.findall(r'(?:src|href)="([^#"]+)"', page)}
    assert all((drawn.output / link).is_file() for link in linked)
    expected = {path.relative_to(drawn.output).as_posix() for path in drawn.output.glob("flows/*")}
    expected |= {
        path.relative_to(drawn.output).as_posix() for path in drawn.output.glob("queries/*")
    }
    assert linked == expected
    written = json.loads((drawn.output / "demo.json").read_text())
    assert written["right"] == drawn.right
    assert [row["query"] for row in written["rows"]] == [row.query for row in drawn.rows]


def test_covered_pictures_say_that_they_are_drawn(drawn: DemoResult) -> None:
    for row in drawn.rows:
        assert row.covered is not None
        with Image.open(row.covered) as image:
            assert "no real person" in str(image.getexif()[0x010E])


def test_a_folder_of_photos(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_people(photos, people=3, photos_each=2)
    (photos / "Bruno" / "Bruno_0002.png").unlink()
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    output = tmp_path / "out"
    result = run_demo(photos, output=output, analyzer=analyzer)
    assert not result.synthetic
    assert (result.people, result.faces) == (3, 3)
    assert [row.person for row in result.rows] == ["Ada", "Alba"]
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before
    assert "drawn, not real" not in result.page.read_text("utf-8")

    # The same folder again: replaced, not added to. The cap is told.
    result = run_demo(photos, output=output, analyzer=analyzer, max_queries=1)
    assert (len(result.rows), result.left_out, result.faces) == (1, 1, 3)
    assert len(list((output / "queries").iterdir())) == 1


def test_photos_without_a_face_are_told(analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_people(photos, people=2, photos_each=2)
    Image.new("RGB", (80, 80)).save(photos / "Ada" / "zz.png")
    result = run_demo(photos, output=tmp_path / "out", analyzer=analyzer)
    ada = result.rows[0]
    assert (ada.status, ada.right, ada.covered) == ("failed", False, None)
    assert "No face" in str(ada.error)
    assert "no answer" in result.page.read_text("utf-8")


def test_nobody_with_two_photos(tmp_path: Path, analyzer: FaceAnalyzer) -> None:
    photos = tmp_path / "photos"
    (photos / "Ada").mkdir(parents=True)
    (photos / "Ada" / "1.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="has two photos"):
        run_demo(photos, output=tmp_path / "out", analyzer=analyzer)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_demos_is_never_touched(
    tmp_path: Path, analyzer: FaceAnalyzer
) -> None:
    mine = tmp_path / "mine"
    (mine / "people").mkdir(parents=True)
    (mine / "people" / "diary.txt").write_text("dear diary")
    with pytest.raises(InputError, match="not from an earlier demo"):
        run_demo(output=mine, analyzer=analyzer)
    (mine / "demo.json").write_text('{"format": "something else"}')
    with pytest.raises(InputError, match="not from an earlier demo"):
        run_demo(output=mine, analyzer=analyzer)
    assert (mine / "people" / "diary.txt").read_text() == "dear diary"
    shutil.rmtree(mine)
    mine.write_text("a file")
    with pytest.raises(InputError, match="not from an earlier demo"):
        run_demo(output=mine, analyzer=analyzer)


@pytest.mark.parametrize("wrong", [{"people": 1}, {"strangers": -1}, {"max_queries": 0}])
def test_impossible_demos(wrong: dict[str, int], analyzer: FaceAnalyzer, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run_demo(output=tmp_path / "out", analyzer=analyzer, **wrong)


def test_the_command(
    analyzer: FaceAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from faceflow import networks
    from faceflow.cli.app import app

    monkeypatch.setattr(networks, "load_network", lambda name, **_: analyzer.network)
    monkeypatch.setattr(detectors, "load_detector", lambda **_: analyzer.detector)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["demo", "--max-queries", "2"])
    assert done.exit_code == 0, done.output
    assert "not real" in done.stderr
    assert "rank, stage 1 -> 2" in done.stdout
    assert "of 2 answers are right" in done.stdout
    assert Path("demo-output/index.html").is_file()
