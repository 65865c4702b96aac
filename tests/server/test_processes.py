"""Services as processes: killed, stopped, several at once, and asked by the client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import squares
from processes import Process, chain

from faceflow.gallery import Gallery
from faceflow.server.client import Client, ServiceError
from faceflow.server.schemas import Consent
from faceflow.server.state import State


def test_a_kill_during_enrolment_loses_nothing_acknowledged(
    folder: Path, start: Callable[..., Process]
) -> None:
    first = start(slow=0.15)
    key = first.key
    with first.client() as client:
        client.create_gallery("a", network="blocks")
        photos = [(f"P{n}", squares.photo((n, 0))) for n in range(8)]
        job = client.enroll_many("a", photos, repetition="once")
        seen = []
        for number, photo in client.watch("a", job.id):
            seen.append((number, photo))
            if len(seen) == 3:
                break
        first.kill()
    told = {photo.face_id for _, photo in seen}
    chain(folder)
    second = start()
    with second.client(key) as client:
        assert client.enroll_many("a", photos, repetition="once").id == job.id
        rest = list(client.watch("a", job.id, after=seen[-1][0]))
        assert [number for number, _ in rest] == [4, 5, 6, 7, 8]
        done = client.job("a", job.id)
        assert (done.status, done.added, done.duplicates) == ("done", 8, 0)
        assert told <= {face.id for face in client.faces("a")}
        assert len(list(client.people("a"))) == 8
        actions = [entry.action for entry in client.audit()]
        assert actions.count("enroll a face") == 8
    assert second.stop()[0] == 0
    chain(folder)


def test_a_kill_during_deletions_leaves_each_done_and_certified(
    folder: Path, start: Callable[..., Process]
) -> None:
    first = start()
    key = first.key
    with first.client() as client:
        client.create_gallery("a", network="blocks")
        with Gallery.open(folder / "a.faceflow") as gallery:
            gallery.enroll(squares.enrolments(people=12, photos=1))
        certified: list[str] = []

        def delete() -> None:
            for number in range(1, 13):
                try:
                    certified.append(client.delete_person("a", f"p{number}").subject)
                except ServiceError:
                    return

        thread = threading.Thread(target=delete)
        thread.start()
        while len(certified) < 3:
            time.sleep(0.005)
        first.kill()
        thread.join()
    chain(folder)
    second = start()
    with second.client(key) as client:
        deadline = time.monotonic() + 20
        while True:
            begun, ended = set(), set()
            for entry in client.audit():
                subjects = set(entry.subjects)
                begun |= subjects if entry.action == "begin to delete a person" else set()
                ended |= subjects if entry.action == "delete a person" else set()
            if begun == ended:
                break
            assert time.monotonic() < deadline
        assert set(certified) <= ended
        left = {person.id for person in client.people("a")}
        assert not left & ended
        assert len(left) + len(ended) == 12
    chain(folder)


def test_two_services_serve_one_folder(folder: Path, start: Callable[..., Process]) -> None:
    first, second = start(), start()
    assert second.key == ""  # the state is shared, and so are keys
    with first.client() as one, second.client(first.key) as other:
        one.create_gallery("a", network="blocks")

        def enroll(client: Client, number: int) -> int:
            return client.enroll("a", squares.photo((number, 0)), f"P{number}").face.id

        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(lambda n: enroll((one, other)[n % 2], n), range(12)))
        assert sorted(ids) == list(range(1, 13))
        found = one.search("a", squares.photo((5, 3)))
        assert found.candidates[0].person.name == "P5"
        again = other.kept_search("a", found.id)
        assert again == found
        mark = other.mark("a", found.id, found.candidates[0].person.id)
        assert one.search("a", squares.photo((5, 3))).rejected[0].mark_id == mark.id
        one.delete_person("a", found.candidates[0].person.id)
        with pytest.raises(ServiceError, match="There is no person"):
            other.person("a", found.candidates[0].person.id)
        page = other.people("a")
        assert len(list(page)) == 11
        one.delete_gallery("a")
        with pytest.raises(ServiceError) as told:
            other.gallery("a")
        assert told.value.status == 404
        # A new one under the name is another one.
        other.create_gallery("a", network="blocks")
        assert one.gallery("a").faces == 0
        with pytest.raises(ServiceError):
            one.kept_search("a", found.id)
    chain(folder)


def test_a_crowd_is_answered_or_told_to_come_back(
    folder: Path, start: Callable[..., Process]
) -> None:
    service = start()
    photo = squares.photo((1, 3))
    with service.client() as client:
        client.create_gallery("a", network="blocks")
        client.enroll("a", squares.photo((1, 0)), "P1")

        def ask(_: int) -> int:
            try:
                client.search("a", photo)
            except ServiceError as error:
                return error.status if error.retry_after else 0
            return 201

        with ThreadPoolExecutor(50) as pool:
            codes = list(pool.map(ask, range(150)))
        assert set(codes) <= {201, 429}
        assert codes.count(201) > 20
        assert client.search("a", photo).candidates


def test_a_stop_finishes_what_runs(folder: Path, start: Callable[..., Process]) -> None:
    service = start(slow=0.5)
    with service.client() as client:
        client.create_gallery("a", network="blocks")
        job = client.enroll_many("a", [(f"P{n}", squares.photo((n, 0))) for n in range(6)])
        with ThreadPoolExecutor(2) as pool:
            asked = pool.submit(client.search, "a", squares.photo((1, 0)))
            stream = pool.submit(lambda: list(client.watch("a", job.id)))
            time.sleep(0.3)
            code, said = service.stop()
            assert asked.result().id
            assert len(stream.result()) < 6
    assert code == 0
    assert "Traceback" not in said
    state = State(folder / "faceflow-server.state")
    with state.reading() as connection:
        row = connection.execute("SELECT status, owner FROM job").fetchone()
    assert tuple(row) == ("queued", None)
    state.close()
    assert not list(folder.glob("*-wal"))


def test_the_client_does_everything_by_its_types(
    folder: Path, start: Callable[..., Process], tmp_path: Path
) -> None:
    service = start()
    with service.client() as client:
        made = client.create_gallery("a", network="blocks")
        assert client.gallery("a") == made
        assert [one.name for one in client.galleries()] == ["a"]
        path = tmp_path / "one.png"
        path.write_bytes(squares.photo((1, 0)))
        face = client.enroll("a", path, "Ada").face
        assert face.source == "one.png"
        client.enroll("a", squares.photo((2, 0)), "Bo")
        client.enroll("a", squares.photo((3, 0)), "Cy")
        assert client.rename("a", "p2", "Bob").name == "Bob"
        assert client.set_consent("a", "p2", Consent(purpose="x")).consent is not None
        assert [one.name for one in client.people("a", q="b")] == ["Bob"]
        assert [one.id for one in client.faces("a", person="p1")] == [face.id]
        assert client.thumbnail("a", face.id).startswith(b"\xff\xd8")
        found = client.search("a", squares.photo((1, 5)), k=2, threshold=0.5)
        assert found.status == "identified"
        a, b = (one.face_id for one in found.candidates[:2])
        assert client.explanation("a", found.id, a).face_id == a
        assert client.comparison("a", found.id, a, b).difference > 0
        assert client.what_if("a", found.id, [0]).hidden == [0]
        same = client.verify("a", path, squares.photo((1, 5)), threshold=0.5)
        assert same.same is True
        merge = client.merge("a", "p3", "p2")
        split = client.split("a", merge.id).split
        assert split is not None
        assert split.name == "Cy"
        assert client.delete_person("a", split.id).faces == 1
        job = client.enroll_many("a", [("Di", squares.photo((4, 0)))])
        assert [photo.outcome for _, photo in client.watch("a", job.id)] == ["added"]
        assert client.cancel("a", job.id).status == "done"
        assert client.delete_gallery("a").what == "gallery"
        with pytest.raises(ServiceError) as told:
            client.search("a", path)
        assert (told.value.status, told.value.code) == (404, "not-found")
        assert told.value.request_id
    with Client(service.url, "ffk_wrong") as wrong, pytest.raises(ServiceError, match="valid key"):
        list(wrong.galleries())
    service.kill()
    with service.client() as nobody, pytest.raises(ServiceError, match="cannot be asked"):
        list(nobody.galleries())
