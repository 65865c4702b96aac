"""Kill, fill, swap and damage galleries until the minutes are over; print what came of it.

    python3 dev.py soak --minutes 6

Every round starts processes that change a gallery and say so before and after each change, does
something to them or to their files, opens the gallery and compares: every change that was
acknowledged is there, at most the one under way is there too or not at all, everything reads and
checks, and of what was removed no byte is left. Features are made up, no network is needed.
Processes are forked, so that a round takes milliseconds; POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from faceflow.errors import FaceflowError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery

State = dict[str, set[str]]
"""Sources of faces by person."""

CHANGES = ("enroll", "remove", "rename", "merge", "settings")


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def face(number: int, person: str) -> Enrolment:
    """Face ``number``, in which no 8 bytes are those of another one."""
    rng = np.random.default_rng(number)
    digest = hashlib.sha256(f"face {number}".encode())
    return Enrolment(
        person=person,
        source=digest.hexdigest()[:32],
        content_hash=digest.hexdigest(),
        features=FaceFeatures.from_maps(
            rng.standard_normal((1, 32)),
            rng.standard_normal((1, 16, 4, 4)),
            digest=features_digest("d"),
        ),
        crop=rng.integers(0, 256, (24, 24, 3), dtype=np.uint8),
    )


def name(writer: str, number: int) -> str:
    """A person's name that is used once."""
    return f"{writer}-{hashlib.sha256(f'name {number}'.encode()).hexdigest()[:24]}"


def create(path: Path) -> None:
    """An empty gallery."""
    Gallery.create(
        path, network_name="n", digest="d", embedding_size=32, grid=(4, 4), channels=16
    ).close()


def state_of(gallery: Gallery, writer: str = "") -> State:
    """Who is enrolled, of one writer or of all."""
    found: State = {}
    for record in gallery.faces():
        if record.person.startswith(writer):
            found.setdefault(record.person, set()).add(record.source)
    return found


# What a forked process does


@dataclass
class Child:
    """A forked process and the file in which it says things (a pipe could be full)."""

    pid: int
    file: int
    status: int | None = None

    def alive(self) -> bool:
        """Whether it still runs."""
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if done else None
        return self.status is None

    def end(self) -> list[Any]:
        """Wait for it; everything it said."""
        deadline = time.monotonic() + 30
        while self.alive():
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError("a process hangs")
            time.sleep(0.001)
        content = os.pread(self.file, 2**26, 0)
        os.close(self.file)
        # The last line of a killed process may be cut.
        return [json.loads(line) for line in content.split(b"\n")[:-1]]


def fork(work: Callable[[Callable[[Any], None]], None]) -> Child:
    """Run ``work`` in a new process; it is given a way to say things."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Child(pid, descriptor)
    _in_child(work, descriptor, parent)


def _in_child(work: Callable[[Callable[[Any], None]], None], file: int, parent: int) -> NoReturn:
    def tell(what: Any) -> None:
        if os.getppid() != parent:
            os._exit(1)
        os.write(file, json.dumps(what).encode() + b"\n")

    try:
        work(tell)
    except FaceflowError as error:
        tell(["refused", str(error)])
    except BaseException:
        tell(["bug", traceback.format_exc()])
    finally:
        os._exit(0)


def changer(
    path: Path, writer: str, start: int, kinds: tuple[str, ...], seed: int
) -> Callable[[Callable[[Any], None]], None]:
    """Changes one gallery at random, announcing and acknowledging each change."""

    def work(tell: Callable[[Any], None]) -> None:
        rng, numbers = random.Random(seed), itertools.count(start)
        with Gallery.open(path, busy_seconds=20) as gallery:
            known = state_of(gallery, writer)
            while True:
                kind = rng.choice(kinds)
                people = sorted(known)
                if len(people) > 25:
                    kind = "remove"
                if kind in ("remove", "rename", "merge") and len(people) < 3:
                    kind = "enroll"
                change: list[Any]
                if kind == "enroll":
                    faces = [next(numbers) for _ in range(rng.randrange(1, 5))]
                    change = ["enroll", name(writer, faces[0]), faces]
                elif kind == "remove":
                    change = ["remove", rng.choice(people)]
                elif kind == "rename":
                    change = ["rename", rng.choice(people), name(writer, next(numbers))]
                elif kind == "merge":
                    change = ["merge", *rng.sample(people, 2)]
                else:
                    change = ["settings", writer, next(numbers)]
                tell(["begin", change])
                erased = perform(gallery, change)
                apply(known, change)
                tell(["done", change, erased])

    return work


def perform(gallery: Gallery, change: list[Any]) -> bool:
    """Do it; whether former data is erased."""
    kind, *values = change
    if kind == "enroll":
        gallery.enroll([face(number, values[0]) for number in values[1]])
    elif kind == "remove":
        return gallery.remove_person(values[0]).erased
    elif kind == "rename":
        return gallery.rename(*values).erased
    elif kind == "merge":
        return gallery.merge(*values).erased
    else:
        gallery.update_settings({values[0]: values[1]})
    return True


def apply(state: State, change: list[Any]) -> None:
    """What a change makes of a state."""
    kind, *values = change
    if kind == "enroll":
        state[values[0]] = {face(number, "x").source for number in values[1]}
    elif kind == "remove":
        del state[values[0]]
    elif kind == "rename":
        state[values[1]] = state.pop(values[0])
    elif kind == "merge":
        state[values[1]] = state[values[1]] | state.pop(values[0])


def reader(path: Path) -> Callable[[Callable[[Any], None]], None]:
    """Identifies until it is ended, and says when an answer does not hold together."""

    def work(tell: Callable[[Any], None]) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        calls = 0
        with contextlib.suppress(SystemExit), Gallery.open(path, readonly=True) as gallery:
            parent = os.getppid()
            while os.getppid() == parent:
                with gallery.snapshot() as view:
                    everybody = max(1, len(view))
                    query = face(calls % 9, "x").features
                    found = view.search(query, k=everybody).face_ids[0]
                    found = found[found > 0]
                    whole = len(found) == len(view) == len(view.person_of(found))
                    if not whole or len(view.codes(found)[0]) != len(found):
                        tell(["bug", "an answer of two states"])
                calls += 1
        tell(["calls", calls])

    return work


# Rounds


@dataclass
class Tally:
    """What came of one kind of round."""

    rounds: int = 0
    kills: int = 0
    changes: int = 0
    refused: int = 0
    calls: int = 0
    searches: int = 0
    failures: list[str] = field(default_factory=list)


class Soak:
    """Galleries in a folder, and what should be in them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.numbers = itertools.count(1000, 1000)
        self.tallies: dict[str, Tally] = {}
        self.path = folder / "people.faceflow"
        self.states: dict[str, State] = {}
        self.settings: Counter[str] = Counter()
        self.fresh()

    def fresh(self) -> None:
        """Begin with an empty gallery."""
        for entry in self.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        create(self.path)
        self.states = {"a": {}, "b": {}}
        self.settings = Counter()

    def run(self, kind: str, round_: Callable[[Tally], None]) -> None:
        """One round; a failure is kept and the gallery begun anew."""
        tally = self.tallies.setdefault(kind, Tally())
        tally.rounds += 1
        try:
            round_(tally)
        except (AssertionError, FaceflowError, OSError, ValueError, KeyError) as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            tally.failures.append(f"{type(error).__name__}: {error} (line {place.lineno})"[:300])
            self.fresh()

    def start(self, writer: str, kinds: tuple[str, ...], path: Path | None = None) -> Child:
        """A writer of the gallery."""
        seed, start = self.rng.randrange(2**32), next(self.numbers)
        return fork(changer(path or self.path, writer, start, kinds, seed))

    def settle(self, writer: str, said: list[Any], tally: Tally) -> tuple[list[Any], list[bytes]]:
        """Take in what a writer acknowledged: the change under way, and what must be gone."""
        gone: list[bytes] = []
        state, pending = self.states[writer], []
        for kind, *rest in said:
            assert kind != "bug", rest[0]
            if kind == "refused":
                tally.refused += 1
            elif kind == "begin":
                pending = rest[0]
            else:
                tally.changes += 1
                gone += _markers(state, rest[0])
                apply(state, rest[0])
                if rest[0][0] == "settings":
                    self.settings[writer] = rest[0][2]
                pending = []
        return pending, gone

    def compare(self, pending: dict[str, list[Any]], gone: list[bytes], tally: Tally) -> None:
        """Open and look at everything."""
        with Gallery.open(self.path) as gallery:
            gallery.check()
            for writer, state in self.states.items():
                found = state_of(gallery, f"{writer}-")
                if found != state and pending.get(writer):
                    gone += _markers(state, pending[writer])
                    apply(state, pending[writer])
                assert found == state, f"{writer} has {len(found)} people, not {len(state)}"
                setting = gallery.settings.get(writer, 0)
                under_way = pending.get(writer) or [None, None, None]
                assert setting in (self.settings[writer], under_way[-1]), "a setting is lost"
                self.settings[writer] = setting
            query = gallery.features([r.face_id for r in gallery.faces()[:1]] or [])
            if len(query):
                assert gallery.search(query, k=1).cosine[0, 0] == 1.0
        tally.searches += len(gone)
        raw = b"".join(p.read_bytes() for p in _files(self.folder))
        assert not any(marker in raw for marker in gone), "removed data is still there"
        assert [p.name for p in _files(self.folder)] == [self.path.name], "something is left"

    def wait(self, longest: float = 0.6) -> None:
        """Some time, often none."""
        time.sleep(self.rng.random() * longest)

    def killed(self, *kinds: str) -> Callable[[Tally], None]:
        """A writer is killed at any moment."""

        def round_(tally: Tally) -> None:
            child = self.start("a", kinds or CHANGES)
            self.wait()
            os.kill(child.pid, signal.SIGKILL)
            tally.kills += 1
            pending, gone = self.settle("a", child.end(), tally)
            self.compare({"a": pending}, gone, tally)

        return round_

    def crowd(self, tally: Tally) -> None:
        """Two writers and two readers; one writer is killed, and often the other."""
        readers = [fork(reader(self.path)) for _ in range(2)]
        writers = {writer: self.start(writer, CHANGES) for writer in "ab"}
        for child in writers.values():
            self.wait(0.8)
            os.kill(child.pid, signal.SIGKILL)
            tally.kills += 1
        pending, gone = {}, []
        for writer, child in writers.items():
            pending[writer], removed = self.settle(writer, child.end(), tally)
            gone += removed
        for child in readers:
            os.kill(child.pid, signal.SIGTERM)
        for child in readers:
            for kind, what in child.end():
                assert kind == "calls", what
                tally.calls += what
        self.compare(pending, gone, tally)

    def moving(self, kind: str) -> Callable[[Tally], None]:
        """An import or export is killed; what is left is swept by the next opening."""

        def export(tell: Callable[[Any], None]) -> None:
            with Gallery.open(self.path, readonly=True) as gallery:
                for _ in range(50):
                    gallery.export(self.folder / "export", overwrite=True)

        def import_(tell: Callable[[Any], None]) -> None:
            for turn in range(50):
                Gallery.import_from(
                    self.folder / "export", self.folder / f"{turn}.faceflow"
                ).close()

        def round_(tally: Tally) -> None:
            folder = self.folder / "export"
            with Gallery.open(self.path) as gallery:
                known = state_of(gallery)
                gallery.export(folder, overwrite=folder.exists())
            child = fork(export if kind == "export" else import_)
            self.wait(0.5)
            os.kill(child.pid, signal.SIGKILL)
            tally.kills += 1
            for what, text in child.end():
                assert what == "refused", text
            Gallery.open(self.path).close()
            for hidden in self.folder.glob(".*"):
                # Killed before it could lock an empty folder, which is told from one in use by age.
                assert {p.name for p in hidden.iterdir()} <= {"lock"}, "faces are left behind"
                shutil.rmtree(hidden)
            Gallery.import_from(folder, self.folder / "copy.faceflow").close()
            made = [p for p in self.folder.glob("*.faceflow") if p != self.path]
            for path in made:
                with Gallery.open(path) as gallery:
                    gallery.check()
                    assert state_of(gallery) == known
                path.unlink()
            shutil.rmtree(folder)

        return round_

    def swapped(self, tally: Tally) -> None:
        """Another file takes the gallery's place, or none does, while a writer is at work."""
        backup = self.folder / "backup.faceflow"
        shutil.copy(self.path, backup)
        with Gallery.open(backup) as gallery:
            before = state_of(gallery)
        with Gallery.open(self.path) as gallery:
            gallery.update_settings({"after": next(self.numbers)})
        child = self.start("a", CHANGES)
        while not os.fstat(child.file).st_size:
            time.sleep(0.001)
        self.wait(0.2)
        how = self.rng.choice(("replace", "remove", "copy", "remove log"))
        log = Path(f"{self.path}-wal")
        if how == "replace":
            backup.replace(self.path)
        elif how == "remove":
            self.path.unlink()
        elif how == "copy":
            shutil.copy(backup, self.path)
        else:
            log.unlink(missing_ok=True)
        swap = time.monotonic()
        while child.alive() and time.monotonic() < swap + 5:
            time.sleep(0.002)
        assert not child.alive(), f"{how}: a writer goes on with a file nobody will find"
        said = child.end()
        assert said[-1][0] == "refused", said[-1]
        tally.refused += 1
        if how != "remove" and self.path.exists():
            try:
                with Gallery.open(self.path) as gallery:
                    gallery.check()
                    if how == "replace":
                        assert state_of(gallery) == before
            except FaceflowError as error:
                if "belong together" in str(error):
                    tally.refused += 1
                elif how not in ("copy", "remove log"):
                    raise
        self.fresh()

    def damaged(self, tally: Tally) -> None:
        """Bytes of a gallery or its log are changed: an error, or the same answers."""
        child = self.start("a", CHANGES)
        time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        tally.kills += 1
        child.end()
        place = self.rng.choice([p for p in _files(self.folder) if not p.name.endswith("-shm")])
        raw = bytearray(place.read_bytes())
        for _ in range(self.rng.randrange(1, 4) if raw else 0):
            at, size = self.rng.randrange(len(raw)), self.rng.choice((1, 4, 512))
            raw[at : at + size] = bytes(size) if size > 1 else bytes([self.rng.randrange(256)])
        place.write_bytes(raw)

        def look(tell: Callable[[Any], None]) -> None:
            with Gallery.open(self.path) as gallery:
                gallery.check()
                state_of(gallery)
                gallery.enroll([face(1, "x")])

        looking = fork(look)
        for what, text in looking.end():
            assert what == "refused", text
            tally.refused += 1
        self.fresh()

    def full(self, tally: Tally) -> None:
        """The disk is full at a random moment; what was acknowledged stays."""
        room = self.path.stat().st_size // 2 + self.rng.randrange(200_000)
        work = changer(
            self.path,
            "a",
            next(self.numbers),
            ("enroll", "enroll", *CHANGES),
            self.rng.randrange(99),
        )

        def limited(tell: Callable[[Any], None]) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            work(tell)

        child = fork(limited)
        end = time.monotonic() + 0.5
        while child.alive() and time.monotonic() < end:
            time.sleep(0.005)
        if child.alive():
            os.kill(child.pid, signal.SIGKILL)
            tally.kills += 1
        pending, gone = self.settle("a", child.end(), tally)
        self.compare({"a": pending}, gone, tally)

    def linked(self, tally: Tally) -> None:
        """A writer that came through a link is killed; the gallery is opened by its own name."""
        link = self.folder / "link"
        link.symlink_to(self.path)
        child = self.start("a", CHANGES, link)
        self.wait()
        os.kill(child.pid, signal.SIGKILL)
        tally.kills += 1
        pending, gone = self.settle("a", child.end(), tally)
        link.unlink()
        self.compare({"a": pending}, gone, tally)

    def read_only(self, tally: Tally) -> None:
        """A user who may only read: answers, and refused changes."""
        known = dict(self.states["a"]) | self.states["b"]

        def look(tell: Callable[[Any], None]) -> None:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            with Gallery.open(self.path, readonly=True) as gallery:
                gallery.check()
                tell(["same", state_of(gallery) == known])
            Gallery.open(self.path)

        self.folder.chmod(0o555)
        self.path.chmod(0o444)
        try:
            said = fork(look).end()
        finally:
            self.folder.chmod(0o755)
            self.path.chmod(0o644)
        assert said[0] == ["same", True], said
        assert said[1][0] == "refused", said
        assert "cannot be changed" in said[1][1], said
        tally.refused += 1


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("people.faceflow*"))


def _markers(state: State, change: list[Any]) -> list[bytes]:
    """Bytes that a change takes out of the gallery."""
    kind, *values = change
    if kind not in ("remove", "rename", "merge"):
        return []
    gone = [values[0].encode()]
    if kind == "remove":
        gone += [source.encode() for source in state.get(values[0], ())]
    return gone


@contextlib.contextmanager
def small_disk(kilobytes: int) -> Iterator[Path | None]:
    """A file system of its own, where this user may mount one; else None."""
    folder = Path(tempfile.mkdtemp(prefix="faceflow-soak-disk-"))
    options = f"size={kilobytes}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=False)
        folder.rmdir()


def fill(soak: Soak, tally: Tally) -> None:
    """A disk that is full to the last block: enrolling fails cleanly, and so may removing."""
    filler = soak.folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.close(descriptor)
    child = soak.start("a", CHANGES)
    end = time.monotonic() + 0.3
    while child.alive() and time.monotonic() < end:
        time.sleep(0.005)
    if child.alive():
        os.kill(child.pid, signal.SIGKILL)
        tally.kills += 1
    filler.unlink()
    pending, gone = soak.settle("a", child.end(), tally)
    soak.compare({"a": pending}, gone, tally)


def main() -> int:
    """Parse, soak, report; 1 when something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--kills", type=int, default=1000, help="stop after so many kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    tallies: dict[str, Tally] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faceflow-soak-")))
        folder.chmod(0o755)
        soak = Soak(folder, given.seed)
        disk = stack.enter_context(small_disk(700))
        full = None
        if disk is None:
            say("a disk that is really full is left out: only root can mount a small one")
        else:
            full = Soak(disk, given.seed + 1)
        kinds: list[tuple[str, Callable[[Tally], None]]] = [
            ("kill any change", soak.killed()),
            *((f"kill {kind}", soak.killed(kind)) for kind in CHANGES),
            ("kill import", soak.moving("import")),
            ("kill export", soak.moving("export")),
            ("two writers, two readers", soak.crowd),
            ("files limited", soak.full),
            ("through a link", soak.linked),
            ("read-only", soak.read_only),
            ("swapped", soak.swapped),
            ("damaged", soak.damaged),
        ]
        rounds = 0
        while time.monotonic() < end:
            for kind, round_ in kinds:
                soak.run(kind, round_)
                rounds += 1
            if full is not None:
                full.run("disk full", lambda tally: fill(full, tally))
            if sum(tally.kills for tally in soak.tallies.values()) >= given.kills:
                break
        tallies = soak.tallies | (full.tallies if full is not None else {})
    say(
        f"{'':26}{'rounds':>8}{'kills':>8}{'changes':>9}{'refused':>9}{'calls':>8}{'markers':>9}{'failed':>8}"
    )
    for kind, tally in tallies.items():
        row = (tally.rounds, tally.kills, tally.changes, tally.refused, tally.calls, tally.searches)
        say(
            f"{kind:26}{row[0]:8}{row[1]:8}{row[2]:9}{row[3]:9}{row[4]:8}{row[5]:9}"
            f"{len(tally.failures):8}"
        )
    failures = [f"{kind}: {text}" for kind, tally in tallies.items() for text in tally.failures]
    for text in failures[:40]:
        say(text)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
