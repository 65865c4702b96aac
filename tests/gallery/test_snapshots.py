"""Who identifies sees one state, in threads and processes, while others remove and enroll."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from faceflow.gallery import Gallery

Start = Callable[..., subprocess.Popen[str]]
WORKERS = Path(__file__).parent / "workers"


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    def load(name: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(WORKERS))
        spec = importlib.util.spec_from_file_location(name, WORKERS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.create(
        tmp_path / "x.faceflow",
        network_name="n",
        digest="d",
        embedding_size=64,
        grid=(8, 8),
        channels=64,
    ) as gallery:
        yield gallery


def test_threads_identify_beside_changes(
    shared: Gallery, workers: Callable[[str], ModuleType]
) -> None:
    enroll_forever, identify_until = workers("enroll_forever"), workers("identify_until")
    items = [enroll_forever.face(i) for i in range(900)]
    shared.enroll(items[:20])
    states: set[str] = set()
    # Changes take turns, so that every state between two of them is known.
    turn = threading.Lock()
    over = threading.Event()
    errors: list[BaseException] = []
    answers: list[set[str]] = []

    def note(gallery: Gallery) -> None:
        records = gallery.faces()
        states.add(" ".join(f"{record.face_id}:{record.person}" for record in records))

    def change(gallery: Gallery, *, enroll: bool) -> None:
        start = 20
        while not over.is_set():
            with turn:
                people = [who.name for who in gallery.people()]
                if enroll and len(people) < 10:
                    gallery.enroll(items[start : start + 5])
                    start = 20 + (start - 15) % 880
                elif not enroll and len(people) > 2:
                    gallery.remove_person(people[0])
                note(gallery)

    def identify() -> None:
        mine: set[str] = set()
        answers.append(mine)
        for call in range(400):
            mine.add(identify_until.answer(shared, items[call % 40].features))

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        return run

    note(shared)
    with Gallery.open(shared.path) as other:
        changing = [
            threading.Thread(target=guarded(lambda: change(shared, enroll=True))),
            threading.Thread(target=guarded(lambda: change(other, enroll=False))),
        ]
        asking = [threading.Thread(target=guarded(identify)) for _ in range(4)]
        for thread in [*changing, *asking]:
            thread.start()
        for thread in asking:
            thread.join(timeout=120)
        over.set()
        for thread in changing:
            thread.join(timeout=60)
    assert errors == []
    assert len(states) > 10
    assert len(set().union(*answers)) > 5
    assert set().union(*answers) <= states
    shared.check()


def test_processes_identify_beside_changes(shared: Gallery, start_worker: Start) -> None:
    churn = start_worker("churn", shared.path, 120)
    asking = [start_worker("identify_until", shared.path) for _ in range(2)]
    out, errors = churn.communicate(timeout=120)
    assert (churn.returncode, errors) == (0, "")
    # The empty gallery is a state too.
    states = {"", *out.splitlines()}
    calls = 0
    for process in asking:
        out, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
        count, _, answers = out.partition("\n")
        calls += int(count)
        assert set(answers.splitlines()) <= states
    assert calls > 100
    shared.check()


def test_a_visitor_takes_nothing_from_a_writer(shared: Gallery, start_worker: Start) -> None:
    """Closing any descriptor of a file drops a process's locks on it, as POSIX wants it.

    Then the visitor takes itself for the last user and removes the log, and what the writer
    acknowledges afterwards goes to a file that nobody will find.
    """
    log = shared.path.with_name(shared.path.name + "-wal")
    with Gallery.open(shared.path, readonly=True) as second:
        len(second)
    assert log.exists()
    code = f"from faceflow.gallery import Gallery\nGallery.open({str(shared.path)!r}).close()"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)
        assert log.exists(), "the visitor took itself for the last user of the gallery"
        len(shared)
    churn = start_worker("churn", shared.path, 1)
    out, errors = churn.communicate(timeout=30)
    assert errors == ""
    assert len(shared) == len(out.split(" ")) // 2 == 5


def test_a_removal_that_waits_for_a_snapshot_lets_others_write(
    shared: Gallery, workers: Callable[[str], ModuleType]
) -> None:
    """SQLite's own waiting would hold the writers' lock until the snapshot is over."""
    face = workers("enroll_forever").face
    shared.enroll([face(i) for i in range(10)])
    path = shared.path
    erased: list[bool] = []
    with (
        Gallery.open(path) as remover,
        Gallery.open(path, busy_seconds=0.5) as writer,
        Gallery.open(path, readonly=True) as reader,
    ):
        removal = threading.Thread(
            target=lambda: erased.append(remover.remove_person("Person 0").erased)
        )
        with reader.snapshot() as view:
            removal.start()
            while len(writer) == 10:
                pass
            for i in range(10, 40):
                assert writer.enroll([face(i)]).added == 1
            assert removal.is_alive()
            assert len(view) == 10
        removal.join(timeout=30)
    assert erased == [True]
    assert len(shared) == 35
