"""``faceflow train covers`` from photos to a student that is asked, and never enrolled with."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drawn_people import write_people
from faceflow import Identifier, networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.cli.app import app
from faceflow.errors import GalleryMismatchError
from faceflow.faces import detectors
from faceflow.system.caches import cache_dir


@dataclass(frozen=True)
class Trained:
    cache: Path
    words: tuple[str, ...]
    record: dict


@pytest.fixture(scope="module")
def trained(analyzer: FaceAnalyzer, tmp_path_factory) -> Trained:
    """A student of the default network whose last layer learned from drawn photos without names."""
    root = tmp_path_factory.mktemp("students")
    for name in (networks.DEFAULT, detectors.DEFAULT):
        shutil.copytree(cache_dir() / "models" / name, root / "cache" / "models" / name)
    recipe = root / "recipe.toml"
    recipe.write_text(
        "validation_share = 0.5\nbatch_size = 4\ncopies = 1\nwarm_up = 1\nlayer_step = 0.005\n"
    )
    write_people(root / "photos", people=4, photos_each=3)
    words = ("train", "covers", str(root / "photos"), "--unnamed", "--name", "pupil")
    words = (
        *words,
        "--first",
        "fc",
        "--epochs",
        "1",
        "--recipe",
        str(recipe),
        "--offline",
        "--json",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEFLOW_CACHE", str(root / "cache"))
        patch.setattr(detectors, "load_detector", lambda *_, **__: analyzer.detector)
        ran = CliRunner().invoke(app, list(words))
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return Trained(root / "cache", words, json.loads(ran.stdout))


@pytest.fixture
def student(trained: Trained, analyzer: FaceAnalyzer, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setenv("FACEFLOW_CACHE", str(trained.cache))
    monkeypatch.setattr(detectors, "load_detector", lambda *_, **__: analyzer.detector)
    return trained


def test_it_was_trained_and_names_its_teacher(run, student: Trained) -> None:
    record, teacher = student.record, networks.spec(networks.DEFAULT)
    assert record["network"] == "pupil"
    assert record["teacher"] == {"network": teacher.name, "digest": teacher.digest}
    assert record["best_pass"] == 1
    assert [epoch["epoch"] for epoch in record["history"]] == [0, 1]
    start, best = record["history"]
    assert (best["covered"], best["margin"]) > (start["covered"], start["margin"])
    spec = networks.spec("pupil")
    assert (spec.teacher, spec.digest) == (teacher.digest, record["digest"])
    assert spec.digest != teacher.digest
    assert "replace it with --force" in run(*student.words, code=2).err
    # The run is found again, finished, and gives the same student.
    again = run(*student.words, "--force").json
    assert again["digest"] == record["digest"]
    assert again["history"] == record["history"]


def test_its_queries_are_taken_by_a_gallery_of_its_teacher(
    run, student: Trained, gallery: Path, drawn: Path, tmp_path: Path
) -> None:
    photo = next((drawn / "queries").glob("*.png"))
    words = ("identify", photo, "--gallery", gallery, "--offline", "--json", "--top", 1)
    plain = run(*words).lines[0]
    asked = run(*words, "--query-network", "pupil", "--explain", tmp_path).lines[0]
    assert (plain["query_network"], asked["query_network"]) == (None, "pupil")
    assert asked["matches"][0]["person"] == photo.name.removesuffix("-mask.png")
    assert asked["matches"][0]["cosine"] != plain["matches"][0]["cosine"]
    assert "pupil" in Path(asked["page"]).read_text()
    pair = (photo, drawn / "people" / asked["matches"][0]["person"])
    pair = (photo, next(pair[1].glob("*_0001.png")))
    found = run("verify", *pair, "--query-network", "pupil", "--offline", "--json").json
    assert (found["network"], found["query_network"]) == (networks.DEFAULT, "pupil")
    why = run("explain", *pair, "--query-network", "pupil", "--offline", "--json").lines[0]
    assert why["query_network"] == "pupil"
    assert why["matches"][0]["score"] == pytest.approx(found["score"], abs=1e-5)
    # The second photo is the teacher's to look at: the other way round the score is another.
    other = run("verify", *pair[::-1], "--query-network", "pupil", "--offline", "--json").json
    assert other["cosine"] != found["cosine"]


def test_nobody_is_enrolled_with_a_student(
    run, student: Trained, gallery: Path, drawn: Path, tmp_path: Path
) -> None:
    for place in (gallery, tmp_path / "new.faceflow"):
        words = ("enroll", drawn / "people", "--gallery", place, "--network", "pupil", "--offline")
        err = run(*words, code=5).err
        assert "student" in err
        assert "--query-network" in err
    assert not (tmp_path / "new.faceflow").exists()
    with Identifier(gallery, query_network="pupil", offline=True) as people:
        features = people.query_analyzer.analyze(next((drawn / "queries").glob("*.png")))[
            0
        ].features
        assert people.query_analyzer.detector is people.analyzer.detector
        from faceflow.gallery import Enrolment

        with pytest.raises(GalleryMismatchError, match="a student's features cannot be enrolled"):
            people.gallery.enroll([Enrolment("Eve", "eve.png", "0" * 64, features)])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--network", "pupil", "--name", "other"), "pupil is a student itself"),
        (("--name", "pupil"), "there is a network pupil already"),
        (("--name", "other", "--cover", "beard"), "no cover is called"),
        pytest.param(
            ("--name", "other", "--first", "block9"),
            "has no part 'block9'",
            marks=pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed"),
        ),
        (("--name", "other", "--precision", "half"), "precision is 'half'"),
        (("--name", "other", "--network", "vgg"), "there is no network"),
    ],
)
def test_it_refuses_before_it_looks_at_photos(
    run, student: Trained, drawn: Path, words: tuple[str, ...], told: str
) -> None:
    assert told in run("train", "covers", drawn / "people", *words, "--offline", code=2).err


def test_no_student_is_kept_that_is_no_better(
    run, student: Trained, drawn: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "validation_share = 0.5\nbatch_size = 4\ncopies = 1\nwarm_up = 1\nlayer_step = 0.5\n"
    )
    words = ("train", "covers", drawn / "people", "--name", "bad", "--first", "fc", "--epochs", 1)
    ran = run(*words, "--recipe", recipe, "--offline", "--run", tmp_path / "run")
    assert "there is no student" in ran.err
    assert networks.find("bad") is None


def test_too_few_people(run, tmp_path: Path) -> None:
    for person, count in {"Ada": 2, "Bruno": 1}.items():
        (tmp_path / person).mkdir()
        for number in range(count):
            (tmp_path / person / f"{number}.png").write_bytes(b"never read")
    err = run("train", "covers", tmp_path, "--name", "pupil", "--offline", code=2).err
    assert "cannot be trained with" in err
    assert "--unnamed" in err


def test_a_network_that_is_no_student_asks_no_other_gallery(
    run, student: Trained, gallery: Path, drawn: Path, tmp_path: Path
) -> None:
    photo = next((drawn / "queries").glob("*.png"))
    words = ("identify", photo, "--gallery", gallery, "--offline", "--query-network")
    assert "there is no network 'nobody'" in run(*words, "nobody", code=2).err
    # Of the gallery's own network it is the same as without.
    assert run(*words, networks.DEFAULT, "--json").lines[0]["query_network"] is None
    other = tmp_path / "other.faceflow"
    from faceflow.gallery import Gallery

    spec = networks.spec(networks.DEFAULT)
    Gallery.create(
        other,
        network_name="another",
        digest="0" * 64,
        embedding_size=spec.embedding_size,
        grid=spec.grid,
        channels=spec.channels,
    ).close()
    err = run("identify", photo, "-g", other, "--query-network", "pupil", code=5).err
    assert "pupil is a student of another network" in err
    assert "train covers" in err


def test_a_student_travels_in_a_file(run, student: Trained, tmp_path: Path) -> None:
    file = tmp_path / "pupil.safetensors"
    sha256 = run("models", "export-student", "pupil", file, "--json").json["sha256"]
    words = ("models", "import-student", "fellow", file)
    assert "not the file that was meant" in run(*words, "--sha256", "0" * 64, code=6).err
    found = run(*words, "--sha256", sha256, "--json").json
    assert found["digest"] == student.record["digest"]
    assert found["teacher"] == networks.spec(networks.DEFAULT).digest
    assert "only with the sum" in run(*words[:3], "http://127.0.0.1:1/pupil", code=2).err
    assert "is no student" in run("models", "export-student", networks.DEFAULT, file, code=2).err


def test_a_student_of_several_layers_travels_too(student: Trained, tmp_path: Path) -> None:
    """Only what differs from the teacher is in the file, and the graph comes out the same."""
    from faceflow.networks.students import export_student, import_student
    from faceflow.training.export import read_tensors, save_student

    tensors = read_tensors(networks.DEFAULT)
    tensors["conv5.filter.weight"] *= 1.01
    made = save_student("deep", networks.DEFAULT, tensors, trained_on="nothing", layer=False)
    sha256 = export_student("deep", tmp_path / "deep.safetensors")
    size = (tmp_path / "deep.safetensors").stat().st_size
    assert size < 4 * tensors["conv5.filter.weight"].size + 10_000
    again = import_student("again", str(tmp_path / "deep.safetensors"), sha256=sha256)
    assert (again.digest, again.defaults) == (made.digest, made.defaults)
