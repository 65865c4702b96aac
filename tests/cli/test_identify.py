"""What ``identify`` prints: one object per face, options, failures, reports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from faceflow.faces import detectors
from faceflow.gallery import Gallery

pytestmark = pytest.mark.usefixtures("loaded")

MATCH_KEYS = {"person", "score", "cosine", "emd", "visible_cosine"} | {
    "stage1_rank",
    "rank",
    "face_id",
    "faces",
}
ANSWER_KEYS = {"query", "status", "person", "threshold", "face", "faces", "box"} | {
    "detection_score",
    "source",
    "quality",
    "patch_model",
    "query_network",
    "ranked_by",
    "matches",
}


def test_one_object_per_photo_with_the_promised_keys(run, drawn: Path, gallery: Path) -> None:
    answers = run("identify", drawn / "queries", "-g", gallery, "--json").lines
    assert [Path(answer["query"]).name for answer in answers] == sorted(
        path.name for path in (drawn / "queries").iterdir()
    )
    for answer in answers:
        assert answer.keys() == ANSWER_KEYS
        assert answer["status"] == "ranked"
        assert answer["person"] is None
        assert len(answer["matches"]) == 4
        for match in answer["matches"]:
            assert match.keys() == MATCH_KEYS
        ranks = [match["rank"] for match in answer["matches"]]
        assert ranks == [1, 2, 3, 4]


def test_identifying_does_not_load_what_only_builds_graphs(drawn: Path, gallery: Path) -> None:
    """The package onnx takes as long to load, and a graph to parse, as a face to be embedded."""
    code = (
        "import sys\nfrom faceflow.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print('LOADED', *{'onnx', 'onnxruntime'} & sys.modules.keys())"
    )
    words = ["identify", str(drawn / "queries" / "Ada-mask.png"), "-g", str(gallery)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert "Ada" in done.stdout
    assert done.stdout.splitlines()[-1] == "LOADED onnxruntime"


def test_threshold_decides(run, drawn: Path, gallery: Path) -> None:
    query = drawn / "queries" / "Ada-mask.png"
    (answer,) = run("identify", query, "-g", gallery, "-t", "0.99", "--json").lines
    assert (answer["status"], answer["person"]) == ("unknown", None)
    assert answer["matches"], "the best people are told even when nobody reaches the threshold"
    table = run("identify", query, "-g", gallery, "-t", "0.3").out
    assert "identified" in table


def test_a_poor_face_is_told_in_words_and_may_get_no_answer(
    run, drawn: Path, gallery: Path, tmp_path: Path
) -> None:
    photo = next((drawn / "people" / "Ada").iterdir())
    spoilt = tmp_path / "blurred.png"
    with Image.open(photo) as image:
        image.convert("RGB").filter(ImageFilter.GaussianBlur(7)).save(spoilt)
    fine, poor = run("identify", photo, spoilt, "-g", gallery, "-t", "0.3", "--json").lines
    assert fine["quality"]["visible"] > poor["quality"]["visible"] - 0.5
    assert fine["quality"]["sharpness"] > 5 * poor["quality"]["sharpness"]
    assert (fine["status"], poor["quality"]["band"]) == ("identified", "poor")
    assert any("blurred" in flaw for flaw in poor["quality"]["flaws"])
    shown = run("identify", spoilt, "-g", gallery, "-t", "0.3")
    assert "too blurred" in shown.err
    assert "do not trust the score" in shown.err
    options = ["-g", gallery, "-t", "0.3", "--min-quality", "fair"]
    (unsure,) = run("identify", spoilt, *options, "--json").lines
    assert (unsure["status"], unsure["person"]) == ("unsure", None)
    assert unsure["matches"] == poor["matches"], "the people stay for who wants to look"
    pages = tmp_path / "pages"
    assert "unsure" in run("identify", spoilt, *options, "--explain", pages).out
    (page,) = pages.glob("*.html")
    assert "too little to go by" in page.read_text(encoding="utf-8")
    run("identify", spoilt, "-g", gallery, "--min-quality", "superb", code=2)


def test_failed_photos_are_answers_too(
    run, drawn: Path, gallery: Path, no_face: Path, tmp_path: Path
) -> None:
    query = drawn / "queries" / "Ada-mask.png"
    missing = tmp_path / "missing.jpg"
    ran = run("identify", missing, query, no_face, "-g", gallery, "--json", code=1)
    assert [answer["status"] for answer in ran.lines] == ["error", "ranked", "no_face"]
    for answer in (ran.lines[0], ran.lines[2]):
        assert answer["matches"] == []
        assert answer["error"]
    assert run("identify", no_face, query, "-g", gallery, "--json", code=4)
    assert run("identify", missing, "-g", gallery, "--json", code=3)
    table = run("identify", no_face, query, "-g", gallery, code=4)
    assert "no face" in table.out
    assert "error: No face was found" in table.err


def test_every_face_of_a_photo(run, gallery: Path, two_faces: Path) -> None:
    answers = run("identify", two_faces, "-g", gallery, "--face", "all", "--json").lines
    assert {answer["matches"][0]["person"] for answer in answers} == {"Ada", "Alba"}
    assert [(answer["face"], answer["faces"]) for answer in answers] == [(1, 2), (2, 2)]
    (one,) = run("identify", two_faces, "-g", gallery, "--json").lines
    assert (one["face"], one["faces"]) == (1, 1)


def test_whole_image(run, gallery: Path, no_face: Path) -> None:
    (answer,) = run("identify", no_face, "-g", gallery, "--whole-image", "fallback", "--json").lines
    assert answer["source"] == "whole-image"


def test_scoring_options_reach_the_score(run, drawn: Path, gallery: Path) -> None:
    query = drawn / "queries" / "Ada-mask.png"

    def best(*options: object) -> dict[str, float]:
        (answer,) = run("identify", query, "-g", gallery, "--json", *options).lines
        assert isinstance(answer["matches"][0], dict)
        return answer["matches"][0]

    cosine, patches = best("--alpha", 0), best("--alpha", 1)
    assert cosine["score"] == cosine["cosine"]
    assert cosine["visible_cosine"] is None
    assert patches["score"] == patches["emd"]
    seen = best("--alpha", 0, "--visible-share", 1)
    assert seen["score"] == seen["visible_cosine"] != cosine["cosine"]
    raw = best("--alpha", 0.7, "--patches", "raw", "--visible-share", 0, "--weighting", "apc")
    assert raw["score"] == pytest.approx(0.7 * raw["emd"] + 0.3 * raw["cosine"])
    emds = [patches["emd"]] + [
        best("--alpha", 1, *words)["emd"]
        for words in (
            ["--grid", "4x4"],
            ["--weighting", "apc"],
            ["--epsilon", 0.5],
            ["--patches", "raw"],
        )
    ]
    assert len({round(emd, 6) for emd in emds}) == 5
    (short,) = run("identify", query, "-g", gallery, "--k", 1, "--json").lines
    assert len(short["matches"]) == 1
    (two,) = run("identify", query, "-g", gallery, "--best-faces", 2, "--json").lines
    assert two["matches"][0]["faces"] == 2
    (top,) = run("identify", query, "-g", gallery, "--top", 2, "--json").lines
    assert len(top["matches"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--grid", "4by4"],
        ["--grid", "3x3"],
        ["--alpha", "1.5"],
        ["--weighting", "apcc"],
        ["--k", "0"],
        ["--epsilon", "0"],
        ["--threshold", "nan"],
        ["--face", "left"],
        ["--top", "0"],
    ],
    ids=" ".join,
)
def test_wrong_options_are_refused(run, drawn: Path, gallery: Path, words: list[str]) -> None:
    run("identify", drawn / "queries" / "Ada-mask.png", "-g", gallery, *words, code=2)


def test_reports_are_written_and_never_outside_the_folder(
    run, drawn: Path, gallery: Path, tmp_path: Path
) -> None:
    query = drawn / "queries" / "Ada-mask.png"
    photos = tmp_path / "photos"
    for name in ("a", "b"):
        (photos / name).mkdir(parents=True)
    names = ["a/x.png", "b/x.png", "a/...png", "b/con.png", "a/zoë 李 \u202e.png"]
    for name in names:
        shutil.copy(query, photos / name)
    out = tmp_path / "out" / "why"
    ran = run("identify", *(photos / n for n in names), "-g", gallery, "--explain", out, "--json")
    pages = [Path(answer["page"]) for answer in ran.lines]
    pictures = [Path(answer["picture"]) for answer in ran.lines]
    assert len(set(pages)) == len(set(pictures)) == len(names)
    assert {path.parent for path in pages + pictures} == {out}
    assert sorted(out.iterdir()) == sorted(pages + pictures)
    assert "zoë-李" in pages[4].name
    assert pages[3].stem != "con"


def test_an_empty_gallery_answers_empty(run, drawn: Path, bare_gallery: Path) -> None:
    (answer,) = run(
        "identify", drawn / "queries" / "Ada-mask.png", "-g", bare_gallery, "--json"
    ).lines
    assert (answer["status"], answer["matches"]) == ("empty", [])


def test_photos_are_aligned_as_the_gallery_was(
    run, drawn: Path, loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(name: str, **_: object) -> object:
        asked.append(name)
        return loaded.detector

    place = tmp_path / "fan.faceflow"
    Gallery.open_or_create(place, loaded.network, detector="fan-2d").close()
    monkeypatch.setattr(detectors, "check_detector", lambda _: None)  # without the extra
    monkeypatch.setattr(detectors, "load_detector", load)
    # The detector that stands in for FAN aligns in its own way, and is found out.
    refused = run("identify", drawn / "queries" / "Ada-mask.png", "-g", place, code=5)
    assert "aligned by fan-2d" in refused.err
    run("calibrate", drawn / "people", "-g", place, "--no-threshold", code=5)
    assert asked == ["fan-2d", "fan-2d"]
