"""``--gallery postgresql://...`` reaches the server everywhere a file would be opened."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from faceflow.cli.app import app

SECRET = "marker-password"
NOWHERE = f"postgresql://ada:{SECRET}@127.0.0.1:9/people"


@pytest.mark.parametrize(
    "words",
    [
        ["people"],
        ["faces"],
        ["remove", "Ada", "--yes"],
        ["rename", "Ada", "Bo"],
        ["merge", "Ada", "Bo"],
        ["export", "out"],
        ["identify", "x.jpg"],
        ["enroll", "PHOTOS"],
        ["calibrate", "--show"],
    ],
    ids=lambda words: words[0],
)
def test_a_server_that_is_not_there_is_an_error_without_its_password(
    words: list[str], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason='needs: pip install "faceflow[postgres]"')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "PHOTOS").mkdir()
    done = CliRunner().invoke(app, [*words, "--gallery", NOWHERE, "--json"])
    assert done.exit_code in (2, 5), (done.output, done.exception)
    assert SECRET not in done.output + done.stderr
    assert not list(tmp_path.glob("postgres*"))


def test_the_service_asks_where_to_keep_its_state(tmp_path) -> None:
    """Before it asks the database, which may take a while not to answer."""
    pytest.importorskip("fastapi", reason='needs: pip install "faceflow[server]"')
    done = CliRunner().invoke(app, ["serve", "--gallery", NOWHERE])
    assert done.exit_code == 2
    assert "--state" in done.stderr
    assert SECRET not in done.output + done.stderr
