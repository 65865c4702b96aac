"""Reports: nothing is lost in JSON, and each format shows the same numbers."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from faceflow.errors import InputError
from faceflow.evaluation.assemble import assemble
from faceflow.evaluation.cells import Bench
from faceflow.evaluation.experiment import Experiment, Number, Report, Row, Table
from faceflow.evaluation.laboratory import Laboratory
from faceflow.evaluation.report import from_json, html_report, to_csv, to_json, to_markdown
from faceflow.evaluation.report.page import Picture
from faceflow.evaluation.report.plots import Series, chart
from faceflow.evaluation.report.texts import show
from faceflow.evaluation.report.write import write_report
from faceflow.evaluation.sweeps import identification_tables
from faceflow.matching.options import MatchOptions

HOSTILE = '<script>alert(1)</script> | "x"'


@pytest.fixture
def report(lab: Laboratory) -> Report:
    bench = Bench(lab)
    asked = Experiment("lfw", "mask", "lightcnn-v4", MatchOptions(0.5, "uniform", 7), "open-set")
    tables = identification_tables(bench, [asked, asked.compared(grid=(4, 4))])
    hostile = Table(
        "hostile",
        HOSTILE,
        ("person",),
        ("P@1",),
        (
            Row((HOSTILE,), {"P@1": Number(0.5, 0.25, 0.75)}, {"P@1": 0.8484}),
            Row(("gone",), missing="get it from somewhere"),
        ),
        (HOSTILE,),
    )
    return assemble(HOSTILE, "faceflow evaluate", bench, [*tables, hostile], 0.0)


def test_json_there_and_back(report: Report) -> None:
    text = json.dumps(to_json(report), allow_nan=False)
    assert from_json(json.loads(text)) == report
    infinite = replace(report, seconds=math.inf)
    assert from_json(json.loads(json.dumps(to_json(infinite)))) == infinite


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "faceflow.evaluation/0"}, "schema"),
        ({"title": 3}, "title"),
        ({"extra": 1}, "fields"),
        ({"tables": [{}]}, "Table"),
        ({"seconds": True}, "seconds"),
    ],
)
def test_other_json_is_refused(report: Report, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_json(to_json(report) | change)


def test_csv_holds_every_number(report: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(report))))
    found = {(line["table"], line["labels"], line["metric"]): line for line in lines}
    for table in report.tables:
        for row in table.rows:
            for metric, number in row.ours.items():
                line = found[table.name, " | ".join(row.labels), metric]
                assert float(line["ours"]) == number.value
    line = found["hostile", HOSTILE, "P@1"]
    assert (line["low"], line["high"], line["paper"]) == ("0.25", "0.75", "0.8484")
    assert found["hostile", "gone", "P@1"]["missing"] == "get it from somewhere"


def test_markdown_shows_ours_beside_the_papers(report: Report) -> None:
    page = to_markdown(report)
    assert "| 50.00 [25.0, 75.0] | 84.84 |" in page
    assert "paper's P@1" in page
    assert "get it from somewhere" in page
    assert "Near-duplicates" in page
    assert report.results[0].network_digest in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for line, below in itertools.pairwise(rows):
        if below.startswith("| ---"):
            assert len(re.split(r"(?<!\\)\|", line)) == len(re.split(r"(?<!\\)\|", below))


def test_the_page_is_self_contained_and_shows_no_photo(report: Report) -> None:
    page = html_report(report)
    assert "<script" not in page
    assert "http" not in re.sub(r'http-equiv|xmlns="[^"]*"', "", page)
    assert "data:image" not in page
    assert "84.84" in page
    assert "Without a face" in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert page.count("<svg") == 3  # sweep, CMC, DET
    shown = html_report(report, [Picture(b"png", HOSTILE)])
    assert "data:image/png;base64,cG5n" in shown
    assert "<script" not in shown


def test_charts_place_points_on_their_axes() -> None:
    svg = ElementTree.fromstring(
        chart(
            [Series("a & b", [0.01, 0.1, 1.0, 0.0], [0.0, 50.0, 100.0, 3.0])], "x", "y", log_x=True
        )
    )
    (line,) = (e for e in svg.iter("polyline"))
    points = [tuple(map(float, p.split(","))) for p in line.attrib["points"].split()]
    assert len(points) == 3  # 0 has no logarithm
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.2)
    assert points[0][1] - points[1][1] == pytest.approx(points[1][1] - points[2][1], abs=0.2)
    texts = {e.text for e in svg.iter("text")}
    assert {"0.01", "0.1", "1", "0", "100", "a & b"} <= texts


def test_charts_of_nothing_and_of_one_point() -> None:
    for series in (Series("none", [], []), Series("one", [0.3], [0.7])):
        ElementTree.fromstring(chart([series], "x", "y"))
        ElementTree.fromstring(chart([series], "x", "y", log_x=True, log_y=True))


def test_numbers_are_percent_but_for_seconds() -> None:
    assert show("P@1", Number(0.5)) == "50.00"
    assert show("seconds", Number(61.23)) == "61.2"
    assert show("P@1", None) == ""


def test_files_are_written_by_their_ending(report: Report, tmp_path: Path) -> None:
    for name in ("a.html", "a.md", "a.csv", "a.JSON"):
        write_report(tmp_path / name, report)
        assert (tmp_path / name).stat().st_size > 1000
    with pytest.raises(InputError, match=r"\.html, \.md"):
        write_report(tmp_path / "a.pdf", report)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(tmp_path / "file" / "a.md", report)
