"""Kill a whole service while it enrolls, decides and deletes, again and again.

``python tests/server/kills.py ROUNDS`` kills as often and says what it found; the tests run a round
or two. Nothing that was acknowledged may be lost, nothing may be there twice, and whatever was
begun must be finished by the next start.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import squares
from processes import Process, chain, children

from faceflow.gallery import Gallery
from faceflow.server.client import Client, ServiceError
from faceflow.server.roles import Role

PEOPLE = 6
"""Enrolled anew for each round, some of whom are deleted while it runs."""


@dataclass
class Told:
    """What the service acknowledged, to be found again after every kill."""

    faces: dict[int, str] = field(default_factory=dict)
    """Face -> name of its person, of those that nobody deletes."""
    jobs: dict[str, list[str]] = field(default_factory=dict)
    """Job -> the names in it."""
    decisions: dict[tuple[str, int], str] = field(default_factory=dict)
    """(Case, number) -> sha256."""
    deleted: set[str] = field(default_factory=set)
    """People of whom there is a certificate."""
    certificates: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)


def ask(client: Client, method: str, path: str, **sent: Any) -> Any:
    """An answer's JSON, where the client has no method for it."""
    return json.loads(client._request(method, path, **sent).data)


class Torture:
    """A service in a folder, killed at random moments.

    Args:
        folder: for its galleries; empty.
        seed: of the moments.
        workers: of the service.
    """

    def __init__(self, folder: Path, seed: int = 0, workers: int = 1) -> None:
        self.folder, self.workers = folder, workers
        self.told = Told()
        self.number = 0
        self.random = random.Random(seed)
        self.failures: list[Exception] = []
        self.process = self._start()
        self.key = self.process.key
        with self.process.client() as client:
            client.create_gallery("a", network="blocks")
            made = {
                role: ask(client, "POST", "/v1/keys", json={"name": f"a {role}", "role": role})
                for role in (Role.EXAMINER, Role.REVIEWER, Role.AUDITOR)
            }
        self.keys = {role: one["text"] for role, one in made.items()}

    def _start(self) -> Process:
        return Process(self.folder, slow=0.02, workers=self.workers)

    def _acknowledged(self) -> int:
        told = self.told
        return len(told.faces) + len(told.decisions) + len(told.deleted)

    def close(self) -> None:
        """End what runs."""
        self.process.kill()

    def round(self) -> None:
        """Work, a kill in the middle of it, a start, and a look at everything."""
        self.number += 1
        with self._client() as client:
            fresh = [f"R{self.number} D{n}" for n in range(PEOPLE)]
            doomed = [
                client.enroll("a", squares.photo((n, self.number)), name).face.person.id
                for n, name in enumerate(fresh)
            ]
        work = [
            threading.Thread(target=self._until_killed, args=(one,))
            for one in (self._enroll, self._decide, lambda client: self._delete(client, doomed))
        ]
        for thread in work:
            thread.start()
        enough = self._acknowledged() + self.random.randint(1, 20)
        deadline = time.monotonic() + 60
        while self._acknowledged() < enough and any(thread.is_alive() for thread in work):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(self.random.uniform(0, 0.05))
        self.kill()
        for thread in work:
            thread.join()
        self.told.counts["kills"] += 1
        assert not self.failures
        chain(self.folder)
        self.process = self._start()
        self.check()

    def kill(self) -> None:
        """All of its processes, at once."""
        workers = children(self.process.process.pid) if self.workers > 1 else set()
        self.process.process.send_signal(signal.SIGSTOP)  # so that it starts no others
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()

    def _client(self, role: Role | None = None) -> Client:
        key = self.key if role is None else self.keys[role]
        return Client(self.process.url, key, patience=30)

    def _until_killed(self, work: Callable[[Client], None]) -> None:
        try:
            with self._client() as client:
                work(client)
        except ServiceError as error:
            if error.status:  # otherwise it is gone, as it should be
                self.failures.append(error)

    def _enroll(self, client: Client) -> None:
        """Jobs and single photos, in turn."""
        for turn in range(20):
            names = [f"R{self.number} J{turn} {n}" for n in range(4)]
            photos = [
                (name, squares.photo((100 * self.number + turn, n))) for n, name in enumerate(names)
            ]
            job = client.enroll_many("a", photos, repetition=f"{self.number}-{turn}")
            self.told.jobs[job.id] = names
            name = f"R{self.number} S{turn}"
            one = client.enroll("a", squares.photo((turn, 50 + self.number)), name)
            self.told.faces[one.face.id] = name
            for _, photo in client.watch("a", job.id):
                assert photo.face_id is not None, photo
                self.told.faces[photo.face_id] = photo.person

    def _decide(self, client: Client) -> None:
        """Cases, and two reviewers of each at once."""
        del client
        with self._client(Role.EXAMINER) as examiner:
            for turn in range(40):
                found = examiner.search("a", squares.photo((turn % PEOPLE, 7)))
                sent = {"gallery": "a", "search": found.id, "title": f"Round {self.number}"}
                case = ask(examiner, "POST", "/v1/cases", json=sent)["id"]
                self._conclude(examiner, case, "inconclusive")
                with self._client() as other:
                    second = threading.Thread(
                        target=self._review, args=(other, case, "different-strong")
                    )
                    second.start()
                    with self._client(Role.REVIEWER) as reviewer:
                        self._review(reviewer, case, "different-limited")
                    second.join()

    def _review(self, client: Client, case: str, conclusion: str) -> None:
        try:
            self._conclude(client, case, conclusion)
        except ServiceError as error:
            if error.status not in (0, 409):  # the other one may have settled it
                self.failures.append(error)

    def _conclude(self, client: Client, case: str, conclusion: str) -> None:
        sent = {"conclusion": conclusion, "note": f"of round {self.number}"}
        shown = ask(client, "POST", f"/v1/cases/{case}/decisions", json=sent)
        for one in shown["decisions"]:
            self.told.decisions[case, one["number"]] = one["sha256"]

    def _delete(self, client: Client, doomed: list[str]) -> None:
        for person in doomed:
            certificate = client.delete_person("a", person)
            self.told.deleted.add(person)
            self.told.certificates.add(certificate.id)
            time.sleep(0.05)

    # Afterwards

    def check(self) -> None:
        """Raise AssertionError for whatever is lost, there twice, or not finished."""
        with self._client() as client:
            deadline = time.monotonic() + 60
            while unfinished := self._unfinished(client):
                assert time.monotonic() < deadline, unfinished
                time.sleep(0.05)
            self._check_faces(client)
            with self._client(Role.AUDITOR) as auditor:  # who decides sees not all
                self._check_cases(auditor)
            ask(client, "GET", "/v1/audit/verify")
        chain(self.folder)

    def _unfinished(self, client: Client) -> list[str]:
        begun, done = set(), set()
        entries = list(client.audit())
        for entry in entries:
            if entry.action == "begin to delete a person":
                begun.add(entry.details["deletion"])
            if entry.action == "delete a person":
                assert entry.details["deletion"] not in done, "certified twice"
                done.add(entry.details["deletion"])
        left = sorted(begun - done)
        for job in self.told.jobs:
            now = client.job("a", job)
            if now.finished is None:
                left.append(job)
            else:
                assert (now.status, now.added) == ("done", now.photos), now
        return left

    def _check_faces(self, client: Client) -> None:
        faces = {face.id: face for face in client.faces("a")}
        people = Counter(face.person.name for face in faces.values())
        for number, name in self.told.faces.items():
            assert faces[number].person.name == name
        for names in self.told.jobs.values():
            for name in names:
                assert people[name] == 1, (name, people[name])
        there = {person.id for person in client.people("a")}
        assert not there & self.told.deleted
        listed = ask(client, "GET", "/v1/galleries/a/certificates?limit=500")["items"]
        assert self.told.certificates <= {one["id"] for one in listed}
        subjects = [one["subject"] for one in listed]
        assert len(set(subjects)) == len(subjects)
        enrolled = [e.subjects[0] for e in client.audit() if e.action == "enroll a face"]
        assert len(set(enrolled)) == len(enrolled), "audited twice"
        with Gallery.open(self.folder / "a.faceflow", readonly=True) as gallery:
            assert len(gallery) == len(faces)
        self.told.counts["faces"] = len(self.told.faces)
        self.told.counts["deleted"] = len(self.told.deleted)
        self.told.counts["begun and finished later"] = len(listed) - len(self.told.certificates)

    def _check_cases(self, client: Client) -> None:
        noted = Counter(
            entry.details["sha256"] for entry in client.audit() if "decide" in entry.action
        )
        assert set(noted.values()) <= {1}
        found: Counter[str] = Counter()
        for case in {case for case, _ in self.told.decisions}:
            shown = ask(client, "GET", f"/v1/cases/{case}")
            hashes = {one["number"]: one["sha256"] for one in shown["decisions"]}
            rounds = [one["round"] for one in shown["decisions"]]
            assert rounds == list(range(1, len(rounds) + 1)), rounds
            for number, value in hashes.items():
                assert noted[value] == 1
                if (case, number) in self.told.decisions:
                    assert self.told.decisions[case, number] == value
            found[f"{len(rounds)} decisions"] += 1
        self.told.counts["decisions"] = len(self.told.decisions)
        self.cases = found


def main(rounds: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "galleries"
        folder.mkdir()
        torture = Torture(folder, seed=1, workers=workers)
        try:
            for _ in range(rounds):
                torture.round()
                sys.stdout.write(f"{dict(torture.told.counts)} {dict(torture.cases)}\n")
                sys.stdout.flush()
        finally:
            torture.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
