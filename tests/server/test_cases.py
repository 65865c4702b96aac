"""Cases: what is kept, whose turn it is, and who may see what."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from faceflow.errors import InputError
from faceflow.server import conclusions
from faceflow.server.audit import Audit, verify
from faceflow.server.cases import Case, Cases, CaseStatus
from faceflow.server.conclusions import Conclusion, Direction
from faceflow.server.keys import Key, Keys
from faceflow.server.problems import Problem
from faceflow.server.roles import Role
from faceflow.server.settings import ServerSettings
from faceflow.server.state import State

SEARCH = {
    "id": "s_0123456789abcdef",
    "candidates": [
        {"person": {"id": "p1", "name": "Ada"}, "face_id": 3},
        {"person": {"id": "p2", "name": "Bruno"}, "face_id": 5},
    ],
}
SECRET = "the scar over the left brow"


@pytest.fixture
def cases(state: State) -> Cases:
    return Cases(state, Audit(state))


@pytest.fixture
def people(state: State) -> dict[str, Key]:
    keys = Keys(state)
    roles = {
        "Maria": Role.EXAMINER,
        "Noor": Role.REVIEWER,
        "Olu": Role.REVIEWER,
        "Pia": Role.ADMINISTRATOR,
        "Quinn": Role.AUDITOR,
    }
    made = {name: keys.create(name, role)[0] for name, role in roles.items()}
    return made | {"elsewhere": keys.create("Rhea", Role.REVIEWER, ["other"])[0]}


@pytest.fixture
def case(cases: Cases, people: dict[str, Key]) -> str:
    return cases.open(people["Maria"], "people", "Till robbery", SEARCH, {"query.jpg": b"jpg"})


def first(cases: Cases, people: dict[str, Key], case: str) -> Case:
    return cases.decide(
        people["Maria"], case, "same-strong", person="p1", face_id=3, note=SECRET, features=["ear"]
    )


def test_a_case_keeps_the_search_and_its_pictures(
    cases: Cases, people: dict[str, Key], case: str
) -> None:
    kept = cases.get(people["Noor"], case)
    assert kept.search == SEARCH
    assert (kept.title, kept.status, kept.pictures) == (
        "Till robbery",
        CaseStatus.OPEN,
        ("query.jpg",),
    )
    assert cases.picture(people["Noor"], case, "query.jpg") == b"jpg"
    with pytest.raises(Problem, match="no picture"):
        cases.picture(people["Noor"], case, "../state")


def test_two_who_agree_settle_a_case(cases: Cases, people: dict[str, Key], case: str) -> None:
    seen = first(cases, people, case)
    assert seen.status is CaseStatus.REVIEW
    seen = cases.decide(people["Noor"], case, "same-limited", person="p1")
    assert seen.status is CaseStatus.SETTLED
    assert seen.outcome is not None
    assert (seen.outcome.direction, seen.outcome.person) == (Direction.SAME, "p1")
    assert [one.note for one in cases.get(people["Maria"], case).decisions] == [SECRET, ""]
    with pytest.raises(Problem, match="settled"):
        cases.decide(people["Olu"], case, "inconclusive")


@pytest.mark.parametrize(
    ("second", "third", "direction", "agreed"),
    [
        (("inconclusive", None), ("same-moderate", "p1"), Direction.SAME, (1, 3)),
        (("same-strong", "p2"), ("same-limited", "p2"), Direction.SAME, (2, 3)),
        (("different-strong", "p1"), ("inconclusive", None), Direction.NEITHER, ()),
        (("same-strong", "p2"), ("different-limited", None), Direction.NEITHER, ()),
        (("inconclusive", None), ("inconclusive", "p1"), Direction.NEITHER, (2, 3)),
    ],
)
def test_a_third_settles_a_conflict(
    cases: Cases,
    people: dict[str, Key],
    case: str,
    second: tuple[str, str | None],
    third: tuple[str, str | None],
    direction: Direction,
    agreed: tuple[int, ...],
) -> None:
    first(cases, people, case)
    seen = cases.decide(people["Noor"], case, second[0], person=second[1])
    assert (seen.status, seen.may_decide) == (CaseStatus.REVIEW, False)
    assert cases.get(people["Olu"], case).may_decide
    seen = cases.decide(people["Olu"], case, third[0], person=third[1])
    assert seen.status is CaseStatus.SETTLED
    assert seen.outcome is not None
    assert (seen.outcome.direction, seen.outcome.agreed) == (direction, agreed)


def test_nobody_sees_anothers_decision_before_the_end(
    cases: Cases, people: dict[str, Key], case: str, state: State
) -> None:
    first(cases, people, case)
    for name in ("Noor", "Olu", "Pia"):
        seen = cases.get(people[name], case)
        assert seen.decisions == ()
        assert seen.hidden
        assert seen.may_decide
        assert SECRET not in repr(seen)
    listed = cases.page(people["Noor"])
    assert SECRET not in repr(listed)
    # What the log says is the same whatever was decided, but for a hash nobody can guess.
    entry = Audit(state).entries()[-1]
    assert entry.action == "decide"
    assert set(entry.details) == {"decision", "sha256"}
    assert entry.subjects == (case,)
    # A conflict opens no eyes either, and the second does not learn what the third needs.
    cases.decide(people["Noor"], case, "inconclusive", note="too dark")
    assert [one.note for one in cases.get(people["Noor"], case).decisions] == ["too dark"]
    assert [one.note for one in cases.get(people["Maria"], case).decisions] == [SECRET]
    assert cases.get(people["Olu"], case).decisions == ()
    assert cases.get(people["Olu"], case).status is CaseStatus.REVIEW
    # Who only reads cases decides none, so nothing is to be kept from them.
    assert [one.note for one in cases.get(people["Quinn"], case).decisions] == [SECRET, "too dark"]


def test_the_first_may_think_again_until_somebody_reviews(
    cases: Cases, people: dict[str, Key], case: str
) -> None:
    first(cases, people, case)
    seen = cases.decide(people["Maria"], case, "inconclusive", note="on second thoughts")
    assert [one.round for one in seen.decisions] == [1, 1]
    seen = cases.decide(people["Noor"], case, "inconclusive")
    assert seen.status is CaseStatus.SETTLED  # the last word of the first round counts
    assert len(seen.decisions) == 3


def test_whose_turn_it_is_not(cases: Cases, people: dict[str, Key], case: str) -> None:
    with pytest.raises(Problem, match="may not decide") as refused:
        cases.decide(people["Noor"], case, "inconclusive")  # nobody has opened it with a decision
    assert refused.value.status == 403
    first(cases, people, case)
    with pytest.raises(Problem, match="may not decide"):
        cases.decide(people["Quinn"], case, "inconclusive")
    with pytest.raises(Problem, match="no case"):
        cases.decide(people["elsewhere"], case, "inconclusive")
    cases.decide(people["Noor"], case, "inconclusive")
    for name in ("Maria", "Noor"):
        with pytest.raises(Problem, match="have decided") as refused:
            cases.decide(people[name], case, "inconclusive")
        assert refused.value.status == 409


def test_another_gallerys_cases_are_not_there(
    cases: Cases, people: dict[str, Key], case: str
) -> None:
    assert cases.page(people["elsewhere"]) == []
    for ask in (
        lambda: cases.get(people["elsewhere"], case),
        lambda: cases.picture(people["elsewhere"], case, "query.jpg"),
        lambda: cases.get(people["Noor"], "c_nothing"),
    ):
        with pytest.raises(Problem) as refused:
            ask()
        assert refused.value.status == 404


def test_decisions_that_cannot_be(cases: Cases, people: dict[str, Key], case: str) -> None:
    maria = people["Maria"]
    with pytest.raises(InputError, match="not on the scale"):
        cases.decide(maria, case, "certain", person="p1")
    with pytest.raises(InputError, match="not among the candidates"):
        cases.decide(maria, case, "same-strong", person="p9")
    with pytest.raises(InputError, match="needs a candidate"):
        cases.decide(maria, case, "same-strong")
    with pytest.raises(InputError, match="at most"):
        cases.decide(maria, case, "inconclusive", note="x" * 20_001)
    with pytest.raises(InputError, match="title"):
        cases.open(maria, "people", "  ", SEARCH, {})
    assert cases.get(maria, case).decisions == ()


def test_pages_of_cases_are_complete_and_in_order(cases: Cases, people: dict[str, Key]) -> None:
    made = [cases.open(people["Maria"], "people", f"case {n}", SEARCH, {}) for n in range(5)]
    found: list[str] = []
    after = None
    while page := cases.page(people["Maria"], after=after, limit=2):
        found += [one.id for one in page]
        after = (page[-1].created, page[-1].id)
    assert found == made[::-1]


def test_a_decision_matches_the_hash_in_the_log(
    cases: Cases, people: dict[str, Key], case: str, state: State
) -> None:
    decision = first(cases, people, case).decisions[0]
    assert Audit(state).entries()[-1].details["sha256"] == decision.hash
    with state.writing() as connection:
        connection.execute("UPDATE decision SET content = replace(content, 'strong', 'limited')")
    changed = cases.get(people["Maria"], case).decisions[0]
    assert changed.hash != decision.hash


def test_the_scale_can_be_changed_and_old_decisions_keep_their_words(
    cases: Cases, people: dict[str, Key], case: str, state: State
) -> None:
    first(cases, people, case)
    ours = (
        Conclusion("yes", "Ja", Direction.SAME),
        Conclusion("open", "Offen", Direction.NEITHER),
        Conclusion("no", "Nein", Direction.DIFFERENT),
    )
    conclusions.set_scale(state, ours)
    assert conclusions.scale(state) == ours
    seen = cases.decide(people["Noor"], case, "yes", person="p1")
    words = [one.conclusion.text for one in seen.decisions]
    assert words == ["Strong support for the same person", "Ja"]
    with pytest.raises(InputError, match="neither"):
        conclusions.set_scale(state, ours[:1])
    with pytest.raises(InputError, match="keys"):
        conclusions.set_scale(state, (*ours, ours[0]))


def test_two_reviewers_at_once_are_two_rounds(
    cases: Cases, people: dict[str, Key], case: str
) -> None:
    first(cases, people, case)
    begin = threading.Barrier(2)
    refused: list[Problem] = []

    def decide(name: str, conclusion: str) -> None:
        begin.wait()
        try:
            cases.decide(people[name], case, conclusion, person="p2")
        except Problem as problem:
            refused.append(problem)

    work = [
        threading.Thread(target=decide, args=args)
        for args in (("Noor", "same-strong"), ("Olu", "same-limited"))
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    seen = cases.get(people["Quinn"], case)
    # Both name another person than the first, so neither settles it alone and both count.
    assert refused == []
    assert [one.round for one in seen.decisions] == [1, 2, 3]
    assert seen.outcome is not None
    assert (seen.outcome.person, seen.outcome.agreed) == ("p2", (2, 3))


def _decide_for_ever(path: str, case: str, told: Any) -> None:
    state = State(Path(path))
    cases, keys = Cases(state, Audit(state)), Keys(state)
    maria = next(key for key in keys.all() if key.name == "Maria")
    for number in range(10_000):
        cases.decide(maria, case, "inconclusive", note=f"note {number}")
        told.send_bytes(str(number).encode())  # acknowledged only now


def test_a_killed_process_loses_no_acknowledged_decision(
    cases: Cases, people: dict[str, Key], case: str, settings: ServerSettings, state: State
) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_decide_for_ever, args=(str(state.path), case, there))
    process.start()
    there.close()
    told = [int(here.recv_bytes()) for _ in range(5)]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    try:
        while True:
            told.append(int(here.recv_bytes()))
    except EOFError:
        pass
    process.close()
    here.close()
    again = State(settings.state_path)
    notes = [one.note for one in Cases(again, Audit(again)).get(people["Maria"], case).decisions]
    assert notes[: len(told)] == [f"note {number}" for number in told]
    assert len(notes) <= len(told) + 1
    # The log knows every decision, and holds.
    entries, _ = verify(again)
    assert entries == len(notes) + 1
    again.close()


def test_nothing_of_a_case_stays_when_it_is_half_written(
    cases: Cases, people: dict[str, Key], state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(Audit, "append", broken)
    with pytest.raises(Exception, match="disk full"):
        cases.open(people["Maria"], "people", "lost", SEARCH, {"query.jpg": b"jpg"})
    with state.reading() as connection:
        for table in ("kept_case", "case_picture"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
