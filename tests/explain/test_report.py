"""File names and files of the reasons behind an answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drawn_people import draw, identity
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import InputError
from faceflow.explain.report import decision_text, file_name, write_report
from faceflow.gallery import Enrolment, Gallery
from faceflow.matching.identification import identify


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_file_names_are_safe(text: str) -> None:
    name = file_name(text)
    assert name
    assert len(name.encode()) <= 127
    assert all(c.isalnum() or c in "-_" for c in name)
    assert not name.startswith("-")
    assert name.lower() not in ("con", "prn", "aux", "nul", "com1", "lpt1")


@pytest.mark.parametrize("text", ["Ada_0001", "zoë", "李小龍", "a-b_c"])
def test_plain_names_stay(text: str) -> None:
    assert file_name(text) == text


def test_different_texts_give_different_names() -> None:
    texts = [
        "a b",
        "a/b",
        "a-b",
        "a.b",
        "../a-b",
        "con",
        "CON",
        "",
        " ",
        ".",
        "..",
        "x" * 199,
        "李" * 50,
    ]
    assert len({file_name(text) for text in texts}) == len(texts)


@pytest.fixture(scope="module")
def answered(analyzer: FaceAnalyzer, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("reports") / "people.faceflow"
    faces = [analyzer.analyze(draw(identity(seed)), select="largest")[0] for seed in range(3)]
    query = analyzer.analyze(draw(identity(1), 2), select="largest")[0]
    with Gallery.open_or_create(path, analyzer.network) as gallery:
        gallery.enroll(
            Enrolment(f"P<{n}>", f"{n}.png", f"{n}" * 64, face.features, crop=face.crop)
            for n, face in enumerate(faces)
        )
        yield gallery, query


def test_picture_and_page(answered, tmp_path: Path) -> None:
    gallery, query = answered
    options = gallery.options(grid=(4, 4))
    (matches,) = identify(query.features, gallery, options, threshold=0.1)
    report = write_report(
        tmp_path / "new", "../who?", query, matches, gallery, options, top=2, title="<who>"
    )
    assert report.page.parent == tmp_path / "new"
    page = report.page.read_text("utf-8")
    assert "P&lt;1&gt;" in page
    assert "&lt;who&gt;" in page
    assert "<who>" not in page
    assert page.count("<article") == 2
    assert report.picture is not None
    with Image.open(report.picture) as picture:
        picture.verify()
    assert decision_text(matches).startswith("Identified as P<1>: 0.")


def test_an_empty_gallery_gives_a_page_without_picture(
    answered, analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    _, query = answered
    with Gallery.open_or_create(tmp_path / "none.faceflow", analyzer.network) as gallery:
        (matches,) = identify(query.features, gallery)
        options = gallery.options()
        report = write_report(tmp_path, "q", query, matches, gallery, options)
    assert report.picture is None
    assert "The gallery is empty" in report.page.read_text("utf-8")


def test_a_place_that_cannot_be_written(answered, tmp_path: Path) -> None:
    gallery, query = answered
    (matches,) = identify(query.features, gallery)
    options = gallery.options()
    taken = tmp_path / "file"
    taken.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(taken, "q", query, matches, gallery, options)


def test_decisions_in_words(answered) -> None:
    gallery, query = answered
    (ranked,) = identify(query.features, gallery)
    (unknown,) = identify(query.features, gallery, threshold=0.999)
    assert "nothing is decided" in decision_text(ranked)
    assert decision_text(unknown).startswith("Unknown: the best score is 0.")
