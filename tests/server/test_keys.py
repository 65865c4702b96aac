"""Keys open what they were made for, until they end."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

import pytest

from faceflow.errors import InputError
from faceflow.server.keys import Keys
from faceflow.server.problems import Problem
from faceflow.server.roles import PERMISSIONS, Permission, Role
from faceflow.server.state import State


def test_a_key_is_known_by_its_text_and_kept_nowhere(state: State) -> None:
    key, text = Keys(state).create("Ada", Role.EXAMINER, ["a"])
    assert Keys(state).check(text) == key
    secret = text.rsplit("_", 1)[1]
    state.erase()
    assert secret.encode() not in state.path.read_bytes()
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "wrong", ["", "ffk_", "ffk_aaaaaaaaaaaa_" + "A" * 43, "x" * 1000, "ffk_\0"]
)
def test_other_texts_open_nothing(state: State, wrong: str) -> None:
    Keys(state).create("Ada", Role.SEARCHER)
    assert Keys(state).check(wrong) is None


def test_a_wrong_secret_opens_nothing(state: State) -> None:
    _, text = Keys(state).create("Ada", Role.SEARCHER)
    assert Keys(state).check(text[:-1] + ("A" if text[-1] != "A" else "B")) is None


def test_revoked_and_expired_keys_open_nothing(state: State) -> None:
    keys = Keys(state)
    key, text = keys.create("Ada", Role.SEARCHER)
    assert keys.revoke(key.id).revoked is not None
    assert keys.check(text) is None
    soon, _ = keys.create("Bo", Role.SEARCHER, None, datetime.now(UTC) + timedelta(hours=1))
    assert soon.valid(datetime.now(UTC))
    assert not soon.valid(datetime.now(UTC) + timedelta(hours=2))
    with pytest.raises(InputError):
        keys.create("Cy", Role.SEARCHER, None, datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(Problem):
        keys.revoke("nobody")


def test_a_key_is_bound_to_its_galleries(state: State) -> None:
    key, _ = Keys(state).create("Ada", Role.SEARCHER, ["a"])
    assert key.may(Permission.SEARCH, "a")
    assert not key.may(Permission.SEARCH, "b")
    assert not key.may(Permission.ENROLL, "a")


def test_every_permission_is_held_by_somebody_beside_the_administrator() -> None:
    others = {p for role, held in PERMISSIONS.items() if role != Role.ADMINISTRATOR for p in held}
    assert others == set(Permission) - {Permission.ADMINISTER}
