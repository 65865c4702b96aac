"""A service that is killed loses nothing it acknowledged; and two reviewers at once."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import squares
from kills import Torture, ask

from faceflow.server.client import ServiceError
from faceflow.server.roles import Role

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_nothing_acknowledged_is_lost_in_a_kill(folder: Path) -> None:
    """While it enrolls, decides and deletes; ``python tests/server/kills.py 30`` does more."""
    torture = Torture(folder, seed=3)
    try:
        torture.round()
        told = torture.told
        assert told.counts["kills"] == 1
        assert told.faces or told.decisions or told.deleted
    finally:
        torture.close()


def test_two_reviewers_at_once_are_never_both_the_second(folder: Path) -> None:
    """Over sockets, in two workers: of each case one is second, the other third or too late."""
    torture = Torture(folder, workers=2)
    outcomes: list[tuple[str, int]] = []
    lock = threading.Lock()
    try:
        with torture._client(Role.EXAMINER) as examiner, torture._client() as client:
            client.enroll("a", squares.photo((1, 0)), "P1")
            found = examiner.search("a", squares.photo((1, 5)))
            cases = []
            for number in range(6):
                sent = {"gallery": "a", "search": found.id, "title": f"case {number}"}
                cases.append(ask(examiner, "POST", "/v1/cases", json=sent)["id"])
                torture._conclude(examiner, cases[-1], "different-strong")
            for number, case in enumerate(cases):
                gate = threading.Barrier(2)

                def review(role: Role | None, conclusion: str, case: str, gate: threading.Barrier):
                    with torture._client(role) as own:
                        ask(own, "GET", "/v1/whoami")  # the connection stands
                        gate.wait()
                        try:
                            torture._conclude(own, case, conclusion)
                            status = 201
                        except ServiceError as error:
                            status = error.status
                    with lock:
                        outcomes.append((case, status))

                # In half of the cases the two say the same, and the first of them settles it.
                same = "different-limited" if number % 2 else "inconclusive"
                both = [
                    threading.Thread(target=review, args=(role, same, case, gate))
                    for role in (Role.REVIEWER, None)
                ]
                for thread in both:
                    thread.start()
                for thread in both:
                    thread.join()
        with torture._client(Role.AUDITOR) as auditor:
            for number, case in enumerate(cases):
                shown = ask(auditor, "GET", f"/v1/cases/{case}")
                made = shown["decisions"]
                assert [one["round"] for one in made] == list(range(1, len(made) + 1))
                assert len({one["key"] for one in made}) == len(made)
                told = Counter(status for one, status in outcomes if one == case)
                assert len(made) - 1 == told[201]
                assert shown["status"] == "settled"
                expected = {201: 1, 409: 1} if number % 2 else {201: 2}
                assert dict(told) == expected
        torture.check()
    finally:
        torture.close()
