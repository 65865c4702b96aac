"""The ``evaluate`` commands as a user meets them, and the figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.cli.app import app
from faceflow.evaluation.experiment import Experiment
from faceflow.evaluation.identification_run import identification
from faceflow.evaluation.laboratory import Laboratory
from faceflow.evaluation.report import from_json
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.options import MatchOptions
from faceflow.networks import MatchDefaults


@pytest.fixture
def run(fake: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr("faceflow.cli.loading.load_analyzer", lambda *_, **__: fake)

    def call(*words: object, code: int = 0) -> Any:
        arguments = ["evaluate", *map(str, words), "--cache", str(tmp_path / "kept")]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        assert "Traceback" not in result.stdout + result.stderr
        if code:
            assert result.stderr.strip()
        return result

    return call


def test_identification_prints_what_the_library_measures(
    run: Any, lab: Laboratory, photos: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("r.html", "r.md", "r.csv", "r.json")]
    outputs = [word for path in files for word in ("-o", path)]
    words = ["identification", "--data", f"lfw={photos}", "-q", "mask", "--alpha", 0.5, "-k", 7]
    ran = run(*words, "--weighting", "uniform", *outputs, "--json")
    report = from_json(json.loads(ran.stdout))
    direct = identification(
        lab, Experiment("lfw", "mask", "lightcnn-v4", MatchOptions(0.5, "uniform", 7))
    )
    (told,) = report.results
    assert told.stage1 == direct.stage1
    assert told.stage2 == direct.stage2
    assert told.sample == direct.sample
    assert report.command.split()[0] == "faceflow"
    assert report.versions["faceflow"]
    assert "18 photos of 6 people" in report.data["lfw"]
    assert from_json(json.loads(files[3].read_text())).results == report.results
    assert "data:image" not in files[0].read_text()
    sampled = run(*words, "--weighting", "uniform", "--queries", 6, "--json").stdout
    assert from_json(json.loads(sampled)).results[0].sample.query_photos == 6
    shown = run(*words, "--weighting", "uniform").stdout
    assert f"{100 * direct.stage2.p_at_1.estimate:.2f}" in shown
    assert "1 of 18 query photos" in shown


def test_scoring_options_reach_the_experiment(
    run: Any, lab: Laboratory, photos: Path, model: PatchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = MatchDefaults(0.2, "uncovered", 100, "projected", 0.4)
    monkeypatch.setattr(networks, "defaults_for", lambda _: own)
    words = ["identification", "--data", f"lfw={photos}", "-q", "mask", "--json"]
    usual = Experiment("lfw", "mask", "lightcnn-v4", MatchOptions(0.2, "uncovered"))
    for more, expected in (
        ([], usual.compared(patches="projected", visible_share=0.4)),
        (["--patches", "raw", "--visible-share", 0], usual),
        (
            ["--visible-share", 1, "--alpha", 0],
            usual.compared(patches="projected", visible_share=1.0, alpha=0.0),
        ),
        (["--grid", "4x4", "--weighting", "apc"], usual.compared(weighting="apc", grid=(4, 4))),
    ):
        (told,) = from_json(json.loads(run(*words, *more).stdout)).results
        assert told.experiment == expected
        assert told.stage2 == identification(lab, expected).stage2
    # The ablation over grids cannot project.
    ran = run("ablation", "grid", "--data", f"lfw={photos}", "--people", 3, "--alpha", 0.5)
    assert "projected" not in ran.stdout
    monkeypatch.setattr(covers, "load", lambda *_: None)
    (told,) = from_json(json.loads(run(*words).stdout)).results
    assert told.experiment == usual.compared(weighting="uniform")
    said = run(*words, "--patches", "projected", code=2).stderr
    assert "need a patch model" in " ".join(said.split())


def test_pictures_only_when_asked_for(run: Any, photos: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    run("identification", "--data", f"lfw={photos}", "--people", 2, "-o", page, "--pictures")
    assert "data:image/png" in page.read_text()
    assert "Mind its terms" in page.read_text()


def test_a_table_with_nothing_there_still_answers(run: Any) -> None:
    ran = run("table", "S5", "--protocol", "no-leak", "--network", "lightcnn-v4")
    assert "93.49" in ran.stdout
    assert "--data talfw=FOLDER" in ran.stdout


def test_table_of_the_paper(run: Any, cfp_folder: Path) -> None:
    ran = run("table", "S8", "--data", f"cfp={cfp_folder}", "--network", "lightcnn-v4")
    assert "protocol published" in ran.stdout
    assert "protocol no-leak" in ran.stdout
    assert "84.84" in ran.stdout
    assert "frontal: 8 of 4 people" in ran.stderr


def test_verification(run: Any, cfp_folder: Path) -> None:
    ran = run("verification", "--data", f"cfp={cfp_folder}", code=2)
    assert "only one fold" in ran.stderr


def test_ablation(run: Any, photos: Path) -> None:
    ran = run("ablation", "epsilon", "--data", f"lfw={photos}", "--people", 3, "--alpha", 0.5)
    assert ran.stdout.count("0.05") >= 1
    assert "unconverged" in ran.stdout


@pytest.mark.parametrize(("name", "suffix"), [("S1", "png"), ("S2", "png"), ("S3", "svg")])
def test_figures(run: Any, photos: Path, tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"figure.{suffix}"
    ran = run("figure", name, "--data", f"lfw={photos}", "-q", "mask", "-o", path, "--count", 2)
    assert str(path) in ran.stdout
    if suffix == "png":
        with Image.open(path) as picture:
            assert min(picture.size) > 150
    else:
        assert path.read_text().startswith("<svg")


def test_flow_figures_show_changed_queries_or_say_there_is_none(
    run: Any, lab: Laboratory, photos: Path, tmp_path: Path
) -> None:
    experiment = Experiment("lfw", "aligned-crop", "lightcnn-v4", MatchOptions(0.7, "uniform"))
    test = identification(lab, experiment).queries
    for name, count in (("S4", test.wins), ("S5", test.losses)):
        path = tmp_path / f"{name}.png"
        words = ["figure", name, "--data", f"lfw={photos}", "-q", "aligned-crop", "-o", path]
        ran = run(*words, "--weighting", "uniform", "--count", 1, code=0 if count else 2)
        assert path.exists() == bool(count)
        assert count or "none of" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["identification"], "--data NAME=PATH"),
        (["identification", "--data", "lfw"], "NAME=PATH"),
        (["identification", "--data", "lfw=/nowhere"], "no folder"),
        (["identification", "--data", "nothing=/tmp"], "no data set reader"),
        (["identification", "--data", "lfw=/tmp", "--data-option", "lfw"], "OPTION=VALUE"),
        (["identification", "--data", "lfw=/tmp", "--data-option", "cfp.a=b"], "--data cfp=PATH"),
        (["identification", "--data", "lfw=/tmp", "--alpha", "2"], "alpha"),
        (["identification", "--data", "lfw=/tmp", "--weighting", "x"], "weighting"),
        (["identification", "--data", "lfw=/tmp", "-o", "a.doc"], ".html"),
        (["identification", "--data", "lfw=/tmp", "--grid", "3"], "grid"),
        (["table", "T1"], "S1, S2"),
        (["figure", "S9", "-o", "a.png"], "S1, S2"),
        (["figure", "S3", "-o", "a.png"], ".svg"),
        (["ablation", "colour", "--data", "lfw=/tmp"], "no ablation"),
    ],
)
def test_wrong_words_are_refused(run: Any, words: list[str], said: str) -> None:
    assert said in " ".join(run(*words, code=2).stderr.split())
