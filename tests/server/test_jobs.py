"""Jobs: photos in, outcomes out, in order, once, also after an interruption."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import squares

from faceflow.gallery import Gallery
from faceflow.server.service import Service

Ask = Any
JOBS = "/v1/galleries/a/jobs"


def wait(ask: Ask, job: str) -> Any:
    for _ in range(600):
        found = ask("GET", f"{JOBS}/{job}")
        if found["finished"]:
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def start(ask: Ask, *photos: tuple[str, bytes], status: int = 202, **fields: str) -> Any:
    files = [("images", photo) for photo in photos]
    return ask("POST", JOBS, status=status, files=files, data=fields)


def events(content: bytes) -> list[tuple[int, str, Any]]:
    found = []
    for block in content.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_every_photo_has_an_outcome_and_a_reason(admin: Ask, service: Service) -> None:
    job = start(
        admin,
        ("Ada/1.png", squares.photo((1, 0))),
        ("Ada/again.png", squares.photo((1, 0))),
        ("Bo/two.png", squares.photo((2, 0), (3, 0))),
        ("Bo/none.png", squares.photo()),
        ("Bo/small.png", squares.photo((2, 1), side=16)),
        ("Bo/broken.png", squares.photo((2, 2))[:300]),
        ("nobody.png", squares.photo((4, 0))),
        ("Cy/3.png", squares.photo((5, 0))),
    )
    assert job["photos"] == 8
    done = wait(admin, job["id"])
    assert (done["status"], done["done"]) == ("done", 8)
    assert (done["added"], done["duplicates"], done["skipped"]) == (2, 1, 5)
    photos = admin("GET", f"{JOBS}/{job['id']}/photos")["items"]
    assert [(one["outcome"], one["reason"]) for one in photos] == [
        ("added", None),
        ("duplicate", "duplicate"),
        ("skipped", "several faces"),
        ("skipped", "no face"),
        ("skipped", "too small"),
        ("skipped", "unreadable"),
        ("skipped", "no person"),
        ("added", None),
    ]
    with service.state.reading() as connection:
        kept = connection.execute("SELECT count(*) FROM job_photo WHERE data IS NOT NULL")
        assert kept.fetchone()[0] == 0
    with Gallery.open(service.engine.places.location("a"), readonly=True) as gallery:
        assert [person.name for person in gallery.people()] == ["Ada", "Cy"]


def test_what_is_refused_can_be_accepted(admin: Ask) -> None:
    two = ("x.png", squares.photo((2, 0), (3, 0)))
    job = start(admin, two, person="Bo", accept="several faces, too small")
    assert wait(admin, job["id"])["added"] == 1
    start(admin, two, status=422, person="Bo", accept="everything")
    start(admin, status=415)


def test_progress_goes_on_where_it_was(admin: Ask) -> None:
    job = start(admin, *((f"P{n}/x.png", squares.photo((n, 0))) for n in range(4)))
    told = events(admin("GET", f"{JOBS}/{job['id']}/events"))
    assert [number for number, _, _ in told] == [1, 2, 3, 4, 4]
    assert [event for _, event, _ in told] == ["photo"] * 4 + ["end"]
    assert told[-1][2]["added"] == 4
    again = admin("GET", f"{JOBS}/{job['id']}/events", headers={"Last-Event-ID": "2"})
    assert events(again) == told[2:]
    admin("GET", f"{JOBS}/{job['id']}/events", status=422, headers={"Last-Event-ID": "x"})


def test_a_cancelled_job_keeps_what_was_done(admin: Ask, service: Service) -> None:
    service.runner.stop()  # nobody works on it
    job = start(admin, *((f"P{n}/x.png", squares.photo((n, 0))) for n in range(3)))
    assert job["status"] == "queued"
    cancelled = admin("DELETE", f"{JOBS}/{job['id']}")
    assert (cancelled["status"], cancelled["done"]) == ("cancelled", 3)
    assert admin("DELETE", f"{JOBS}/{job['id']}") == cancelled
    told = events(admin("GET", f"{JOBS}/{job['id']}/events"))
    assert [one["outcome"] for _, event, one in told if event == "photo"] == ["cancelled"] * 3
    with service.state.reading() as connection:
        kept = connection.execute("SELECT count(*) FROM job_photo WHERE data IS NOT NULL")
        assert kept.fetchone()[0] == 0


def test_a_photo_added_just_before_a_kill_is_not_called_a_duplicate(
    admin: Ask, service: Service
) -> None:
    """The gallery has it and the job does not know: as when killed between the two."""
    service.runner.stop()
    job = start(admin, ("P1/x.png", squares.photo((1, 0))), ("P2/x.png", squares.photo((2, 0))))
    files = {"image": ("x.png", squares.photo((1, 0)))}
    admin("POST", "/v1/galleries/a/faces", status=201, files=files, data={"person": "P1"})
    from faceflow.server.jobs import Runner

    second = Runner(service.state, service.audit, service.engine)
    second.start()
    try:
        assert wait(admin, job["id"])["added"] == 2
    finally:
        second.stop()


def test_a_job_of_a_gallery_that_goes_fails(admin: Ask, service: Service) -> None:
    service.runner.stop()
    job = start(admin, ("P1/x.png", squares.photo((1, 0))))
    service.engine.delete("a")
    from faceflow.server.jobs import Runner

    second = Runner(service.state, service.audit, service.engine)
    second.start()
    try:
        for _ in range(200):
            found = service.jobs.get("a", job["id"])
            if found.finished:
                break
            time.sleep(0.02)
        assert (found.status, found.skipped) == ("failed", 1)
    finally:
        second.stop()


def test_jobs_page_by_page(admin: Ask) -> None:
    jobs = [start(admin, (f"P{n}/x.png", squares.photo((n, 0))))["id"] for n in range(3)]
    for job in jobs:
        wait(admin, job)
    first = admin("GET", f"{JOBS}?limit=2")
    rest = admin("GET", f"{JOBS}?limit=2&cursor={first['next']}")
    assert [one["id"] for one in first["items"] + rest["items"]] == jobs[::-1]
    with pytest.raises(AssertionError):
        admin("GET", f"{JOBS}/j_0123456789abcdef")


def everything(service: Service) -> bytes:
    path = service.state.path
    files = [path, Path(f"{path}-wal")]
    return b"".join(file.read_bytes() for file in files if file.exists())


def test_jobs_go_with_their_gallery(people: Ask, service: Service) -> None:
    """And do not go on in the next one of its name; names and photos are in no file any more."""
    service.runner.stop()  # so that the photos wait
    marker = "Xyzzy9264"
    photos = [(f"{marker}/{n}.png", squares.photo((n, 3))) for n in range(3)]
    job = start(people, *photos)["id"]
    kept = photos[1][1][200:260]
    assert all(one in everything(service) for one in (marker.encode(), kept))
    people("DELETE", "/v1/galleries/a")
    assert not any(one in everything(service) for one in (marker.encode(), kept))
    people("POST", "/v1/galleries", status=201, json={"name": "a", "network": "blocks"})
    assert people("GET", JOBS)["items"] == []
    people("GET", f"{JOBS}/{job}", status=404)


def test_a_deleted_person_is_named_by_no_job(people: Ask, service: Service) -> None:
    """Also under the name that they had then, and where a photo of theirs was left out."""
    marker = "Xyzzy9265"
    job = start(
        people,
        (f"{marker}/{marker}.png", squares.photo((7, 1))),
        (f"{marker} Z/broken.png", b"no photo"),
        ("Other/2.png", squares.photo((8, 1))),
    )["id"]
    wait(people, job)
    photos = people("GET", f"{JOBS}/{job}/photos")["items"]
    path = (
        "/v1/galleries/a/people/"
        + people("GET", f"/v1/galleries/a/faces/{photos[0]['face_id']}")["person"]["id"]
    )
    people("PATCH", path, json={"name": f"{marker} Z"})
    people("DELETE", path)
    photos = people("GET", f"{JOBS}/{job}/photos")["items"]
    assert [one["person"] for one in photos] == ["", "", "Other"]
    assert [one["outcome"] for one in photos] == ["added", "skipped", "added"]
    assert marker.encode() not in everything(service)
