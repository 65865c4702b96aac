"""What is removed is gone from the files: searched for byte by byte, in pieces of 8 bytes."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.layout import closing_pad, local_bytes, minimum_local, page_size

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


def test_nothing_stays_behind_after_many_changes(
    gallery: Gallery, enrolments: Make, make_features: Callable[..., FaceFeatures]
) -> None:
    """Page splits and merges leave stale copies unless the layout prevents it."""
    rng = random.Random(1)
    items = unique_people(enrolments(240, people=240, crops=True))
    # Names, sources and pictures of many lengths move rows about the most.
    items = [
        replace(
            item,
            person=item.person[: rng.randrange(8, 25)],
            source=item.source * rng.randrange(1, 5),
            crop=None if i % 3 == 0 else np.asarray(item.crop)[: rng.randrange(32, 64)],
        )
        for i, item in enumerate(items)
    ]
    # What is looked for is what is in the files, not whether a power cut would keep it.
    gallery._store._session._connection.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]
    gone: dict[str, bytes] = {}
    alive: dict[int, str] = {}
    for start in range(0, 240, 60):
        report = gallery.enroll(items[start : start + 60], batch=9)
        alive |= {i: items[i - 1].person for i in report.face_ids}
        for face_id in rng.sample(sorted(alive), len(alive) // 2):
            name = alive.pop(face_id)
            found = secrets(gallery, [face_id])
            del found[f"box {face_id}"]
            gone |= found | {f"name {face_id}": name.encode()}
            if face_id % 2:
                assert gallery.remove_face(face_id).erased
            else:
                assert gallery.remove_person(name).erased
        for face_id in rng.sample(sorted(alive), 10):
            gone[f"name {face_id} {start}"] = alive[face_id].encode()
            alive[face_id] = hashlib.md5(alive[face_id].encode()).hexdigest()[:20]
            old = gallery.record(face_id).person
            assert gallery.rename(old, alive[face_id]).erased
    assert len(gallery) == len(alive) > 50
    gallery.check()
    assert_gone(gallery.path, gone)


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
            with reader.snapshot():
                change = gallery.remove_person(items[2].person)
                assert (change.faces, change.erased) == (1, False)
                assert Pieces(path).hold(gone["name"])
                assert len(reader) == 10
            assert len(reader) == 9
            # The next change erases what was left.
            gallery.enroll(enrolments(1, seed=3))
            assert_gone(path, gone)


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
    assert page_size(10_000) == 1024
    assert page_size(34_000) == 4096


def test_the_layout_holds_in_the_file(gallery: Gallery, enrolments: Make) -> None:
    """No leaf of the face table holds more than padding: looked up in the b-tree pages."""
    items = unique_people(enrolments(60, crops=True))
    gallery.enroll(items)
    gallery.close()
    raw = gallery.path.read_bytes()
    size = int.from_bytes(raw[16:18], "big")
    leaves = [
        page
        for page in (raw[i : i + size] for i in range(size, len(raw), size))
        if page[0] == 13 and page.count(bytes(minimum_local(size) - 20)) >= 1
    ]
    assert len(leaves) >= 60 // 8
    with Gallery.open(gallery.path, readonly=True) as again:
        found = secrets(again, range(1, 61))
    for page in leaves:
        runs = {page[i : i + 8] for i in range(size - 7)}
        for what, secret in found.items():
            if "box" not in what:
                assert secret[:8] not in runs, what
