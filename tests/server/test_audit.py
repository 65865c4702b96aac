"""The audit log holds, and shows when it does not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from faceflow.errors import GalleryError
from faceflow.server.audit import Audit, verify
from faceflow.server.state import State


def fill(state: State, count: int = 5) -> Audit:
    audit = Audit(state)
    for n in range(count):
        audit.append("key", "search", gallery="a", subjects=(f"s{n}",), revision=n)
    return audit


def test_entries_come_back_in_order_and_verify(state: State) -> None:
    audit = fill(state)
    assert [entry.subjects for entry in audit.entries(after=2)] == [("s2",), ("s3",), ("s4",)]
    assert verify(state) == audit.head()
    assert audit.head()[0] == 5


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit SET content = replace(content, 's2', 's9') WHERE number = 3",
        "DELETE FROM audit WHERE number = 3",
        "UPDATE audit SET number = number + 100 WHERE number = 5",
        "INSERT INTO audit SELECT 6, content, hash FROM audit WHERE number = 5",
    ],
)
def test_tampering_is_found(state: State, tamper: str) -> None:
    fill(state)
    with state.writing() as connection:
        connection.execute(tamper)
    with pytest.raises(GalleryError, match="does not hold at entry"):
        verify(state)


def test_many_threads_make_one_chain(state: State) -> None:
    audit = Audit(state)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: audit.append("key", "search", subjects=(str(n),)), range(80)))
    assert verify(state)[0] == 80


def test_an_entry_is_part_of_its_change_or_not_there(state: State) -> None:
    audit = Audit(state)

    def fails() -> None:
        with state.writing() as connection:
            audit.append("key", "remove", connection=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert audit.head()[0] == 0


def test_the_log_is_read_from_either_end(admin: Any) -> None:
    for number in range(5):
        admin.add(number)
    oldest = admin("GET", "/v1/audit?limit=500")["items"]
    pages, cursor = [], ""
    while cursor is not None:
        page = admin("GET", f"/v1/audit?limit=2&order=newest{cursor and '&cursor=' + cursor}")
        pages += page["items"]
        cursor = page["next"]
    assert len(oldest) >= 5
    assert pages == oldest[::-1]
    # A cursor of one order is none of the other.
    cursor = admin("GET", "/v1/audit?limit=2&order=newest")["next"]
    admin("GET", f"/v1/audit?limit=2&cursor={cursor}", status=422)
