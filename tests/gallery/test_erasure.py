"""What is removed is gone from the files: searched for byte by byte, in pieces of 8 bytes."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from faceflow.arrays import unit
from faceflow.gallery import Change, Enrolment, Gallery
from faceflow.gallery.identity import make_header
from faceflow.gallery.records import FaceRecord
from faceflow.gallery.stores.sqlite.layout import closing_pad, local_bytes, minimum_local, page_size
from faceflow.gallery.stores.sqlite.store import SqliteStore
from faceflow.gallery.stores.store import StoredFace

Make = Callable[..., list[Enrolment]]


def files_of(path: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(path.parent.glob(f"{path.name}*")))


class Pieces:
    """Every run of 8 bytes of the gallery's files."""

    def __init__(self, path: Path) -> None:
        raw = files_of(path)
        shifted = [np.frombuffer(raw[o : len(raw) - (len(raw) - o) % 8], "<u8") for o in range(8)]
        self._runs = np.unique(np.concatenate(shifted))

    def hold(self, secret: bytes) -> bool:
        """Whether any 8 aligned bytes of the secret are there."""
        assert len(secret) >= 8
        runs = np.frombuffer(secret[: len(secret) // 8 * 8], "<u8")
        at = np.minimum(np.searchsorted(self._runs, runs), len(self._runs) - 1)
        return bool((self._runs[at] == runs).any())


def secrets(gallery: Gallery, face_ids: Iterable[int]) -> dict[str, bytes]:
    """The bytes of these faces as they stand in the file."""
    found: dict[str, bytes] = {}
    for face_id in face_ids:
        values, scales = gallery.quantised([face_id])
        features, record = gallery.features([face_id]), gallery.record(face_id)
        found |= {
            f"embedding {face_id}": features.embedding.tobytes(),
            f"pooled {face_id}": features.pooled.tobytes(),
            f"patches {face_id}": values.tobytes(),
            f"scales {face_id}": scales.tobytes(),
            f"source {face_id}": record.source.encode(),
            f"hash {face_id}": bytes.fromhex(record.content_hash),
            f"box {face_id}": repr(record.box).encode(),
        }
        picture = gallery.thumbnail(face_id)
        if picture is not None:
            # The first 600 bytes of a JPEG are tables that many pictures share.
            found[f"thumbnail {face_id}"] = picture[-(len(picture) - 600) :]
    return found


def assert_gone(path: Path, gone: dict[str, bytes]) -> None:
    pieces = Pieces(path)
    assert [what for what, secret in gone.items() if pieces.hold(secret)] == []


def unique_people(items: list[Enrolment]) -> list[Enrolment]:
    """Names and sources in which no 8 bytes are shared."""
    digest = [hashlib.sha256(f"{item.source}".encode()).hexdigest() for item in items]
    return [
        replace(item, person=f"{d[:24]}", source=d[24:60])
        for item, d in zip(items, digest, strict=True)
    ]


def test_a_removed_person_is_gone_from_file_and_log(gallery: Gallery, enrolments: Make) -> None:
    items = unique_people(enrolments(30, crops=True))
    gallery.enroll(items, batch=7)
    name = items[11].person
    gone = secrets(gallery, [12]) | {"name": name.encode()}
    pieces = Pieces(gallery.path)
    assert all(pieces.hold(secret) for what, secret in gone.items() if "box" not in what)
    assert gallery.remove_person(name).erased
    assert_gone(gallery.path, gone)
    gallery.close()
    assert_gone(gallery.path, gone)
    with Gallery.open(gallery.path) as again:
        assert_gone(again.path, gone)
        again.check()
        assert len(again) == 29


def test_a_removed_face_is_gone_and_its_neighbours_are_not(
    gallery: Gallery, enrolments: Make
) -> None:
    gallery.enroll(enrolments(20, people=2, crops=True))
    gone = secrets(gallery, [7])
    del gone["source 7"], gone["box 7"]  # share bytes with other faces' here
    kept = secrets(gallery, [5, 8])
    assert gallery.remove_face(7).erased
    assert_gone(gallery.path, gone)
    assert secrets(gallery, [5, 8]) == kept


def test_an_old_name_is_gone_after_rename_and_merge(gallery: Gallery, enrolments: Make) -> None:
    items = unique_people(enrolments(40))
    gallery.enroll(items)
    old, merged = items[3].person, items[9].person
    assert Pieces(gallery.path).hold(old.encode())
    assert gallery.rename(old, "Somebody Else").erased
    assert gallery.merge(merged, "Somebody Else").erased
    assert_gone(gallery.path, {"renamed": old.encode(), "merged": merged.encode()})


def test_who_lost_all_faces_to_others_is_gone(gallery: Gallery, enrolments: Make) -> None:
    items = unique_people(enrolments(40, crops=True))
    gallery.enroll([*items, replace(items[3], person="Somebody Else")])
    assert gallery.move_faces([4, 10], "Somebody Else") == Change(1, dropped=1)
    gone = {"moved": items[9].person.encode(), "dropped": items[3].person.encode()}
    assert_gone(gallery.path, gone)
    gallery.check()


def test_nothing_stays_behind_after_many_changes(tmp_path: Path) -> None:
    """Page splits and merges leave stale copies unless the layout prevents it.

    Without writing the table of names anew, two to six of these 1,500 names stay behind.
    """
    rng, numbers = random.Random(1), np.random.default_rng(1)
    header = make_header(
        network_name="n",
        digest="d",
        embedding_size=4,
        grid=(1, 1),
        channels=4,
        codec="int8",
        thumbnails=True,
    )
    path = tmp_path / "x.faceflow"
    SqliteStore.create(path, header)
    store = SqliteStore(path)
    # What is looked for is what is in the files, not whether a power cut would keep it.
    store._writer._connection.execute("PRAGMA synchronous = OFF")
    alive: dict[int, StoredFace] = {}
    gone: list[StoredFace] = []
    for turn in range(3):
        for start in range(0, 600, 50):
            faces = []
            for i in range(start, start + 50):
                text = hashlib.sha256(f"{turn}/{i}".encode()).hexdigest()
                # Rows of many lengths move one another about the most.
                record = FaceRecord(
                    face_id=0,
                    person=(text * 4)[: rng.randrange(8, 190)],
                    source=text[::-1][:8] * rng.randrange(1, 20),
                    content_hash=text,
                    box=None,
                    score=1.0,
                    created=datetime.now(UTC),
                )
                vector = unit(numbers.standard_normal(4).astype(np.float32))
                picture = numbers.bytes(rng.randrange(100, 1500))
                faces.append(StoredFace(record, vector, numbers.bytes(24), picture))
            for face, added in zip(faces, store.add(faces), strict=True):
                assert added.face_id is not None
                alive[added.face_id] = face
        leaving = rng.sample(sorted(alive), len(alive) * 2 // 3)
        for start in range(0, len(leaving), 100):
            assert store.remove_faces(leaving[start : start + 100]).erased
        gone += [alive.pop(face_id) for face_id in leaving]
    with store.snapshot() as view:
        assert view.face_ids().tolist() == sorted(alive)
        view.check()
    store.close()
    pieces = Pieces(path)
    left = [
        what
        for face in gone
        for what, secret in {
            "name": face.record.person.encode(),
            "source": face.record.source.encode(),
            "hash": bytes.fromhex(face.record.content_hash),
            "embedding": face.embedding.tobytes(),
            "patches": face.payload,
            "thumbnail": face.thumbnail or b"",
        }.items()
        if pieces.hold(secret)
    ]
    assert len(gone) > 1500
    assert left == []


def test_killed_before_the_log_was_erased(
    gallery: Gallery, enrolments: Make, start_worker: Callable[..., subprocess.Popen[str]]
) -> None:
    items = unique_people(enrolments(10, crops=True))
    gallery.enroll(items)
    gone = secrets(gallery, [3]) | {"name": items[2].person.encode()}
    del gone["box 3"]
    gallery.close()
    worker = start_worker("kill_while_erasing", gallery.path, items[2].person)
    assert worker.wait(timeout=30) == -signal.SIGKILL
    with Gallery.open(gallery.path) as again:
        # Opening for writing is enough, even while the gallery stays open.
        assert_gone(again.path, gone)
        assert len(again) == 9
    assert_gone(gallery.path, gone)


def test_a_reader_delays_the_erasing(
    tmp_path: Path, create: Callable[..., Gallery], enrolments: Make
) -> None:
    items = unique_people(enrolments(10))
    path = tmp_path / "x.faceflow"
    with create(path, busy_seconds=0.05) as gallery:
        gallery.enroll(items)
        gone = {"name": items[2].person.encode()}
        with Gallery.open(path, readonly=True) as reader:
            with reader.snapshot() as view:
                change = gallery.remove_person(items[2].person)
                assert (change.faces, change.erased) == (1, False)
                assert Pieces(path).hold(gone["name"])
                assert (len(view), len(reader)) == (10, 9)
            # The next change erases what was left.
            gallery.enroll(enrolments(1, seed=3))
            assert_gone(path, gone)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_delays_the_erasing(
    gallery: Gallery, enrolments: Make, start_worker: Callable[..., subprocess.Popen[str]]
) -> None:
    items = unique_people(enrolments(60, crops=True))
    gallery.enroll(items)
    gone = secrets(gallery, [58]) | {"name": items[57].person.encode()}
    del gone["box 58"]
    gallery.close()
    limit = gallery.path.stat().st_size // 2
    worker = start_worker("remove_on_full_disk", gallery.path, items[57].person, limit)
    out, errors = worker.communicate(timeout=30)
    assert (out, errors) == ("1 False 59\n", "")
    with Gallery.open(gallery.path) as again:
        assert_gone(again.path, gone)
        assert len(again) == 59
        again.check()


@pytest.mark.parametrize("usable", [1024, 1012, 2048, 4096, 4084])
@pytest.mark.parametrize("header", [8, 14, 20, 26, 32])
def test_the_padding_leaves_nothing_in_the_tree_page(usable: int, header: int) -> None:
    opening = minimum_local(usable)
    for content in [*range(0, 6000, 37), *range(9000, 40000, 1003)]:
        closing = closing_pad(opening + content, usable)
        payload = header + opening + content + closing
        assert local_bytes(payload, usable) == minimum_local(usable) <= header + opening
        assert 0 <= closing < usable


def test_page_sizes() -> None:
    assert page_size(10_000) == 2048
    assert page_size(34_000) == 4096


def test_the_layout_holds_in_the_file(gallery: Gallery, enrolments: Make) -> None:
    """No b-tree page holds the beginning of anything but names and hashes."""
    items = [
        replace(item, source=item.source * (1 + i % 11), crop=None if i % 5 == 0 else item.crop)
        for i, item in enumerate(unique_people(enrolments(120, crops=True)))
    ]
    gallery.enroll(items)
    found = secrets(gallery, range(1, 121))
    gallery.close()
    raw = gallery.path.read_bytes()
    size = int.from_bytes(raw[16:18], "big")
    # A leaf of a table with row ids begins with 13, an overflow page with the next one's number.
    leaves = [raw[i : i + size] for i in range(size, len(raw), size) if raw[i] == 13]
    runs = {page[i : i + 8] for page in leaves for i in range(size - 7)}
    names = {item.person.encode()[:8] for item in items}
    assert names <= runs
    for what, secret in found.items():
        if "box" not in what and "thumbnail" not in what:
            assert secret[:8] not in runs, what
