"""``faceflow serve`` end to end with the default network, and ``faceflow audit verify``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceflow import Identifier
from faceflow.analyzer import FaceAnalyzer
from faceflow.cli.app import app
from faceflow.demo import PEOPLE, QUERIES
from faceflow.server.client import Client
from faceflow.server.keys import Keys
from faceflow.server.roles import Role
from faceflow.server.serving import first_key
from faceflow.server.settings import ServerSettings
from faceflow.server.state import State


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A real service on an empty folder: its address, its first key, its process."""
    (tmp_path / "galleries").mkdir()
    words = ["serve", "--galleries", str(tmp_path / "galleries"), "--port", "0", "--offline"]
    process = subprocess.Popen(
        [sys.executable, "-m", "faceflow", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    key = process.stdout.readline().strip()
    said = ""
    while not (found := re.search(r"http://\S+", said)):
        line = process.stderr.readline()
        assert line, said
        said += line
    yield found.group(), key, process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_the_demos_people_over_http(
    running: tuple[str, str, subprocess.Popen[str]], analyzer: FaceAnalyzer, tmp_path: Path
) -> None:
    """Enroll in a job, search, explain: the same numbers as in process."""
    url, key, process = running
    page = (Path(__file__).parents[2] / "docs" / "rest.md").read_text()
    (program,) = re.findall(r"^```py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    if shutil.which("curl"):
        lines = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[0]
        for answer in _curl(lines, url, key, tmp_path):
            assert "urn:faceflow:problem" not in answer
        with Client(url, key) as client:
            names = {person.name for person in client.people("people")}
            assert names >= {"Ada"}
            client.delete_gallery("people")
    with Client(url, key) as client:
        # The page's own program makes the gallery, enrolls and searches.
        exec(program, {"ADDRESS": url, "KEY": key})
        assert client.gallery("people").network == analyzer.network.spec.name
        job = [e.subjects[0] for e in client.audit() if e.action == "start a job"][-1]
        outcomes = [photo for _, photo in client.watch("people", job)]
        assert len(outcomes) == client.gallery("people").faces >= 3
        assert {one.outcome for one in outcomes} == {"added"}
        query = QUERIES / "Ada-mask.jpg"
        found = client.search("people", query)
        quality = found.query.faces[0].quality
        assert quality.cells is not None
        assert quality.visible_share is not None
        assert 0 < quality.visible_share < 1
        best = found.candidates[0]
        assert best.person.name == "Ada"
        why = client.explanation("people", found.id, best.face_id)
        assert sum(why.terms.values()) == pytest.approx(why.score, abs=1e-12)
        assert sum(why.contributions) == pytest.approx(why.terms["emd"], abs=1e-12)
        assert why.score == pytest.approx(best.score, abs=2e-6)
        cells = [n for n, seen in enumerate(quality.cells) if seen < 0.5]
        assert client.what_if("people", found.id, cells).candidates[0].person.name == "Ada"
    with Identifier(
        tmp_path / "galleries" / "people.faceflow",
        network=analyzer.network,
        detector=analyzer.detector,
    ) as people:
        (face,) = people.identify(query, select="largest")
        assert [(one.person.name, one.score) for one in found.candidates] == [
            (match.person, match.score) for match in face.people
        ]
    process.terminate()
    assert process.wait(60) == 0
    ran = CliRunner().invoke(
        app, ["audit", "verify", str(tmp_path / "galleries" / "faceflow-server.state")]
    )
    assert ran.exit_code == 0
    assert re.fullmatch(r"\d+ [0-9a-f]{64}\n", ran.stdout)


def _curl(lines: str, url: str, key: str, folder: Path) -> list[str]:
    """What the page's curl lines answer, run as they stand but for the address."""
    for name, photo in (("ada", "Ada"), ("bo", "Bruno"), ("cy", "Celia")):
        shutil.copy(next((PEOPLE / photo).glob("*.jpg")), folder / f"{name}.jpg")
    shutil.copy(QUERIES / "Ada-mask.jpg", folder / "covered.jpg")
    here = lines.replace("http://127.0.0.1:8765", url)
    assert here != lines
    ran = subprocess.run(
        ["sh", "-e", "-c", here.replace("curl ", "printf '\\n'; curl --silent --show-error ")],
        cwd=folder,
        env=os.environ | {"FACEFLOW_KEY": key},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers = [line for line in ran.stdout.splitlines() if line]
    assert len(answers) == here.count("curl -H")
    return answers


def test_the_first_key_is_shown_once(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path)
    key = first_key(settings)
    assert key is not None
    assert first_key(settings) is None
    state = State(settings.state_path)
    found = Keys(state).check(key)
    state.close()
    assert found is not None
    assert found.role is Role.ADMINISTRATOR


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "what to serve"),
        (["--gallery", "no.faceflow"], "There is no gallery"),
        (["--galleries", "nowhere"], "no folder"),
        (["--galleries", ".", "--host", "0.0.0.0"], "other machines"),
        (["--galleries", ".", "--certificate", "c.pem"], "certificate"),
    ],
)
def test_what_is_not_served(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["serve", *words])
    assert ran.exit_code in (2, 5)
    assert said in ran.stderr.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_a_spoilt_audit_log_is_told(tmp_path: Path) -> None:
    state = State(tmp_path / "x.state")
    from faceflow.server.audit import Audit

    for _ in range(3):
        Audit(state).append("key", "search")
    with state.writing() as connection:
        connection.execute("UPDATE audit SET content = '{}' WHERE number = 2")
    state.close()
    ran = CliRunner().invoke(app, ["audit", "verify", str(tmp_path / "x.state")])
    assert ran.exit_code == 5
    assert "does not hold at entry 2" in ran.stderr.replace("\n", " ")
    assert CliRunner().invoke(app, ["audit", "verify", str(tmp_path / "no")]).exit_code == 5
