"""A service refuses to start where faces would be exposed."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceflow.errors import GalleryError, InputError
from faceflow.server.settings import Limits, ServerSettings, is_loopback
from faceflow.server.state import State


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "faces.example"])
def test_a_public_address_needs_a_certificate_or_a_word(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other machines"):
        ServerSettings(tmp_path, host=host)
    ServerSettings(tmp_path, host=host, public=True)
    ServerSettings(tmp_path, host=host, certificate=tmp_path / "c", key=tmp_path / "k")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "localhost.example", "")))


def test_limits_are_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Limits(photos=0)
    with pytest.raises(InputError):
        ServerSettings(tmp_path, certificate=tmp_path / "c")


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"not a database, and long enough to look like one" * 100)
    with pytest.raises(GalleryError):
        State(other)
