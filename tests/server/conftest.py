"""A service of its own for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason='the service needs: pip install "faceflow[server]"')

from faceflow.server.settings import ServerSettings
from faceflow.server.state import State


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    (tmp_path / "galleries").mkdir()
    return ServerSettings(galleries=tmp_path / "galleries")


@pytest.fixture
def state(settings: ServerSettings) -> State:
    return State(settings.state_path)
