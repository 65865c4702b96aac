"""Working side by side: order, limits, errors in their place, and nothing left behind."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from faceflow.system.side_by_side import in_order


def slowly(number: int) -> int:
    time.sleep(random.Random(number).random() / 500)
    return number * number


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ahead", [0, 1, 5, 100])
def test_answers_come_in_order(threads: int, ahead: int) -> None:
    found = list(in_order(slowly, range(40), threads=threads, ahead=ahead))
    assert found == [(n, n * n) for n in range(40)]


def test_nothing_in_nothing_out() -> None:
    assert list(in_order(slowly, [], threads=2, ahead=3)) == []


@pytest.mark.parametrize("ahead", [0, 4])
def test_no_more_is_taken_than_is_allowed(ahead: int) -> None:
    taken, most = 0, 0

    def source() -> Iterator[int]:
        nonlocal taken
        for number in range(30):
            taken += 1
            yield number

    for done, _ in enumerate(in_order(slowly, source(), threads=2, ahead=ahead)):
        most = max(most, taken - done)
    assert most == max(ahead, 1) + 1, "and the one for which there was no room yet"


def test_heavy_items_leave_room_for_fewer() -> None:
    held: list[int] = []

    def source() -> Iterator[int]:
        for number in [1, 1, 9, 1, 5, 5, 5, 1, 1, 1]:
            held.append(number)
            yield number

    answers = in_order(slowly, source(), threads=2, ahead=10, weight=lambda item: item)
    for done, _ in enumerate(answers):
        waiting = held[done:-1] if len(held) < 10 else held[done:]
        assert sum(waiting) <= 10 or len(waiting) == 1


def test_an_error_comes_in_its_place_and_ends_it() -> None:
    answers = in_order(lambda n: 6 // (3 - n), range(100), threads=2, ahead=10)
    assert [next(answers)[1] for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(answers)
    assert [thread for thread in threading.enumerate() if "faceflow" in thread.name] == []


def test_an_interruption_waits_for_no_more_than_what_is_under_way() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        time.sleep(0.02)
        return number

    def source() -> Iterator[int]:
        for number in range(1000):
            if number == 20:
                raise KeyboardInterrupt
            yield number

    with pytest.raises(KeyboardInterrupt):
        list(in_order(work, source(), threads=2, ahead=50))
    assert len(started) < 20
    assert [thread for thread in threading.enumerate() if "faceflow" in thread.name] == []


def test_threads_go_on_while_the_caller_is_busy() -> None:
    finished = threading.Semaphore(0)

    def work(number: int) -> int:
        finished.release()
        return number

    answers = in_order(work, range(10), threads=2, ahead=10)
    assert next(answers) == (0, 0)
    for _ in range(10):
        assert finished.acquire(timeout=20), "the other items wait for the caller"
    answers.close()
