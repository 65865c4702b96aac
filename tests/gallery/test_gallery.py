from __future__ import annotations

import contextlib
import dataclasses
import doctest
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import faceflow.gallery.gallery
import faceflow.gallery.person_names
from faceflow.errors import GalleryError, GalleryMismatchError, InputError
from faceflow.features import FaceFeatures
from faceflow.gallery import Change, Enrolment, EnrolReport, Gallery, PersonInfo, SharedPhoto

Make = Callable[..., list[Enrolment]]
MakeFeatures = Callable[..., FaceFeatures]
Create = Callable[..., Gallery]


def replace(item: Enrolment, **changes: object) -> Enrolment:
    return dataclasses.replace(item, **changes)  # type: ignore[arg-type]


def test_the_examples_in_the_docstrings() -> None:
    for module in (faceflow.gallery.gallery, faceflow.gallery.person_names):
        result = doctest.testmod(module)
        assert result.attempted > 0
        assert result.failed == 0


def test_enrolled_faces_come_back(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(12, crops=True)
    before = datetime.now(UTC)
    report = gallery.enroll(items, batch=5)
    assert (report.added, report.duplicates, report.shared) == (12, 0, ())
    assert report.face_ids == tuple(range(1, 13))
    assert len(gallery) == 12
    for item, record in zip(items, gallery.faces(), strict=True):
        assert record.person == item.person
        assert record.source == item.source
        assert record.content_hash == item.content_hash
        assert record.box == tuple(item.box or ())
        assert record.score == item.score
        assert before - timedelta(seconds=1) < record.created <= datetime.now(UTC)
        assert record.created.utcoffset() == timedelta(0)
        assert record == gallery.record(record.face_id)
    assert gallery.people() == [PersonInfo(f"Person {i}", 2 + (i < 2), i + 1) for i in range(5)]
    assert [r.face_id for r in gallery.faces("Person 1")] == [2, 7, 12]
    gallery.check()


def test_features_come_back_in_the_order_asked(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(8)
    gallery.enroll(items)
    wanted = [5, 1, 5, 8]
    features = gallery.features(wanted)
    assert len(features) == 4
    for row, face_id in enumerate(wanted):
        original = items[face_id - 1].features
        assert np.array_equal(features.embedding[row], original.embedding[0])
        assert np.array_equal(features.pooled[row], original.pooled[0])
        assert np.allclose(features.norms[row], original.norms[0], rtol=0.01)
        assert np.allclose(features.patches[row], original.patches[0], atol=0.01)
    assert gallery.person_of(np.array(wanted)) == ["Person 4", "Person 0", "Person 4", "Person 2"]
    values, scales = gallery.quantised(wanted)
    restored = values * scales[..., None]
    assert np.allclose(features.raw_patches, restored, rtol=1e-5, atol=1e-6)
    assert len(gallery.features([])) == 0
    assert gallery.person_of([]) == []


def test_float32_galleries_are_exact(tmp_path: Path, create: Create, enrolments: Make) -> None:
    items = enrolments(3)
    with create(tmp_path / "x.faceflow", codec="float32") as gallery:
        gallery.enroll(items)
        features = gallery.features([1, 2, 3])
        for i, item in enumerate(items):
            assert np.array_equal(features.patches[i], item.features.patches[0])
            assert np.array_equal(features.norms[i], item.features.norms[0])


def test_search_is_over_all_faces(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(30)
    gallery.enroll(items)
    queries = FaceFeatures.concatenate([item.features for item in items])
    found = gallery.search(queries, k=3)
    assert (found.face_ids[:, 0] == np.arange(1, 31)).all()
    assert (found.cosine[:, 0] == 1).all()
    assert (np.diff(found.cosine, axis=1) <= 0).all()
    without = gallery.search(queries, k=3, exclude=[[i + 1] for i in range(30)])
    assert (without.face_ids[:, :2] == found.face_ids[:, 1:]).all()


def test_search_sees_every_change(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(20)
    query = items[0].features
    assert (gallery.search(query, k=4).face_ids == -1).all()

    def present() -> list[int]:
        ids = gallery.search(query, k=40).face_ids[0]
        return sorted(ids[ids > 0].tolist())

    for count in (3, 4, 11, 20):
        gallery.enroll(items[:count])
        assert present() == list(range(1, count + 1))
    gallery.remove_face(7)
    gallery.remove_person("Person 2")  # 3, 8, 13, 18
    left = [i for i in range(1, 21) if i not in {3, 7, 8, 13, 18}]
    assert present() == left
    gallery.enroll(enrolments(2, seed=9))
    assert present() == [*left, 21, 22]
    for name in {p.name for p in gallery.people()}:
        gallery.remove_person(name)
    assert present() == []
    assert len(gallery) == 0
    # Ids are never given twice, not even in an empty gallery.
    assert gallery.enroll(items[:1]).face_ids == (23,)
    assert present() == [23]
    gallery.check()


def test_the_same_content_again_is_a_no_op(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(6)
    gallery.enroll(items)
    again = gallery.enroll(items, batch=4)
    assert (again.added, again.duplicates, again.face_ids) == (0, 6, ())
    twice = enrolments(1, seed=3) * 2
    assert gallery.enroll(twice).duplicates == 1
    upper = replace(items[0], content_hash=items[0].content_hash.upper())
    assert gallery.enroll([upper]).duplicates == 1
    assert len(gallery) == 7


def test_a_photo_of_two_people_is_kept_and_reported(gallery: Gallery, enrolments: Make) -> None:
    ada, grace, third = enrolments(3, people=3)
    gallery.enroll([ada])
    group = replace(grace, content_hash=ada.content_hash)
    report = gallery.enroll([group, third])
    assert report.added == 2
    assert report.shared == (SharedPhoto("photos/0/1.jpg", "Person 1", ("Person 0",)),)
    assert gallery.enroll([group]).shared == ()
    assert gallery.people_with(ada.content_hash.upper()) == ["Person 0", "Person 1"]
    assert gallery.people_with("0" * 64) == []
    with pytest.raises(InputError, match="64 hex digits"):
        gallery.people_with("abc")


def test_an_unusual_but_correct_name(gallery: Gallery, enrolments: Make) -> None:
    names = [
        "../../etc/passwd",
        "Zoe\u0308",
        "李 小龍",
        "'; DROP TABLE face; --",
        "a/b\\c",
        "%s {x}",
    ]
    items = [replace(e, person=n) for e, n in zip(enrolments(6), names, strict=True)]
    gallery.enroll(items)
    assert {p.name for p in gallery.people()} == {n.replace("e\u0308", "ë") for n in names}
    assert gallery.faces("Zoë") == gallery.faces("Zoe\u0308")
    assert gallery.remove_person("../../etc/passwd").faces == 1
    assert len(gallery) == 5


def test_remove(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(11))
    assert gallery.remove_face(3) == Change(1)
    assert gallery.remove_person("Person 0") == Change(3)
    assert [p.name for p in gallery.people()] == ["Person 1", "Person 2", "Person 3", "Person 4"]
    for face_id in (4, 9):
        gallery.remove_face(face_id)
    assert "Person 3" not in {p.name for p in gallery.people()}
    gallery.check()
    with pytest.raises(GalleryError, match="no face 3"):
        gallery.remove_face(3)
    with pytest.raises(GalleryError, match="no face 3"):
        gallery.features([2, 3])
    with pytest.raises(GalleryError, match=r"no person 'Person 0'.*did you mean 'Person"):
        gallery.remove_person("Person 0")
    with pytest.raises(GalleryError, match=r"no person 'Q' in the gallery\.$"):
        gallery.faces("Q")


def test_rename(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(6))
    assert gallery.rename("Person 0", " Ada ") == Change(2)
    assert gallery.person_of([1, 6, 2]) == ["Ada", "Ada", "Person 1"]
    assert gallery.rename("Ada", "Ada") == Change(2)
    with pytest.raises(GalleryError, match=r"already a person 'Person 1'.*merge"):
        gallery.rename("Ada", "Person 1")
    with pytest.raises(GalleryError, match="no person 'Person 0'"):
        gallery.rename("Person 0", "X")
    with pytest.raises(InputError, match="empty"):
        gallery.rename("Ada", "")
    # Enrolling under the old name makes a new person.
    gallery.enroll(enrolments(1, seed=5))
    assert len(gallery.people()) == 6
    gallery.check()


def test_merge(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(6, people=3)
    gallery.enroll([*items, replace(items[1], person="Person 0")])
    assert gallery.merge("Person 0", "Person 1") == Change(2, dropped=1)
    assert gallery.people() == [PersonInfo("Person 1", 4, 2), PersonInfo("Person 2", 2, 3)]
    assert [r.face_id for r in gallery.faces("Person 1")] == [1, 2, 4, 5]
    found = gallery.search(items[0].features, k=10).face_ids[0]
    assert sorted(found[found > 0].tolist()) == [1, 2, 3, 4, 5, 6]
    assert gallery.enroll([replace(items[0], person="Person 1")]).duplicates == 1
    gallery.check()
    with pytest.raises(InputError, match="with itself"):
        gallery.merge("Person 1", "Person 1")
    for pair in (("Person 0", "Person 1"), ("Person 1", "Person 0")):
        with pytest.raises(GalleryError, match="no person 'Person 0'"):
            gallery.merge(*pair)


def test_a_batch_with_a_bad_face_is_refused_whole(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(10)
    items[7] = replace(items[7], person="a\nb")
    commits: list[EnrolReport] = []
    with pytest.raises(InputError, match=r"U\+000A"):
        gallery.enroll(items, batch=4, on_commit=commits.append)
    assert len(gallery) == sum(c.added for c in commits) == 4
    gallery.check()


def test_an_exception_of_the_caller_leaves_whole_batches(
    gallery: Gallery, enrolments: Make
) -> None:
    def interrupted() -> object:
        yield from enrolments(7)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gallery.enroll(interrupted(), batch=3)  # type: ignore[arg-type]
    assert len(gallery) == 6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content_hash": "abc"}, "64 hex digits"),
        ({"content_hash": "g" * 64}, "64 hex digits"),
        ({"content_hash": None}, "64 hex digits"),
        ({"person": ""}, "empty"),
        ({"source": "x" * 5000}, "4096"),
        ({"box": (1, 2, 3)}, "x0, y0, x1, y1"),
        ({"box": (5, 2, 3, 4)}, "x0 < x1"),
        ({"box": (1, 2, 3, np.nan)}, "box is nan"),
        ({"score": np.inf}, "score is inf"),
        ({"crop": np.zeros((4, 4), np.uint8)}, r"\(H, W, 3\) uint8"),
        ({"crop": np.zeros((0, 4, 3), np.uint8)}, r"\(H, W, 3\) uint8"),
        ({"crop": np.zeros((4, 4, 3))}, r"\(H, W, 3\) uint8"),
    ],
)
def test_faces_that_cannot_be_kept(
    gallery: Gallery, enrolments: Make, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        gallery.enroll([replace(enrolments(1)[0], **changes)])
    assert len(gallery) == 0


def test_features_that_cannot_be_kept(
    gallery: Gallery, enrolments: Make, make_features: MakeFeatures
) -> None:
    item = enrolments(1)[0]
    for count in (0, 2):
        with pytest.raises(InputError, match=f"holds {count} faces"):
            gallery.enroll([replace(item, features=make_features(count))])
    zero = make_features(1)
    zero.embedding[:] = 0
    with pytest.raises(InputError, match="embedding 0 has length 0"):
        gallery.enroll([item, replace(item, features=zero)][1:])
    late = make_features(1)
    late.patches[0, 3, 2] = np.nan
    with pytest.raises(InputError, match="NaN"):
        gallery.enroll([replace(item, features=late)])
    with pytest.raises(InputError, match="must be FaceFeatures"):
        gallery.enroll([replace(item, features=None)])
    with pytest.raises(InputError, match="batch is 0"):
        gallery.enroll([item], batch=0)


@pytest.mark.parametrize(
    "shape", [{"size": 64}, {"channels": 8}, {"grid": (2, 2)}, {"grid": (2, 8)}]
)
def test_features_of_other_sizes_are_refused(
    gallery: Gallery, random_features: MakeFeatures, enrolments: Make, shape: dict[str, object]
) -> None:
    other = random_features(1, **({"grid": (4, 4), "channels": 16, "size": 32} | shape))
    with pytest.raises(GalleryMismatchError, match=r"holds features of testnet \(32 numbers, 4x4"):
        gallery.search(other, k=1)
    with pytest.raises(GalleryMismatchError, match="testnet"):
        gallery.enroll([replace(enrolments(1)[0], features=other)])


def network(name: str, digest: str) -> SimpleNamespace:
    spec = SimpleNamespace(name=name, embedding_size=32, grid=(4, 4), channels=16, teacher="")
    return SimpleNamespace(spec=spec, digest=digest)


def test_another_network_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "people.faceflow"
    mine, other = network("testnet", "a" * 64), network("othernet", "b" * 64)
    with Gallery.open_or_create(path, mine, thumbnails=False) as gallery:
        assert gallery.header.network_name == "testnet"
        assert gallery.header.thumbnails is False
    with Gallery.open_or_create(path, mine), Gallery.open(path, network=mine):
        pass
    for attempt in (
        lambda: Gallery.open_or_create(path, other),
        lambda: Gallery.open(path, network=other),
    ):
        with pytest.raises(GalleryMismatchError, match=r"of testnet .*not of othernet"):
            attempt()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["people.faceflow"]


def test_thumbnails(tmp_path: Path, gallery: Gallery, create: Create, enrolments: Make) -> None:
    with_crop = enrolments(2, crops=True)
    wide = replace(enrolments(1, seed=1)[0], crop=np.full((20, 500, 3), 90, np.uint8))
    gallery.enroll([*with_crop, wide, *enrolments(1, seed=2)])
    first = gallery.thumbnail(1)
    assert first is not None
    (tmp_path / "t.jpg").write_bytes(first)
    with Image.open(tmp_path / "t.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (48, 64))
    (tmp_path / "t.jpg").write_bytes(gallery.thumbnail(3) or b"")
    with Image.open(tmp_path / "t.jpg") as picture:
        assert picture.size == (96, 4)
    assert gallery.thumbnail(4) is None
    with create(tmp_path / "again.faceflow") as again:
        again.enroll(with_crop)
        assert again.thumbnail(1) == first
    with create(tmp_path / "without.faceflow", thumbnails=False) as without:
        without.enroll(with_crop)
        assert without.thumbnail(1) is None
    with pytest.raises(GalleryError, match="no face 99"):
        gallery.thumbnail(99)


def test_settings(tmp_path: Path, gallery: Gallery) -> None:
    assert gallery.settings == {}
    values = {"alpha": 0.4, "weighting": "apc", "k": 100, "grid": [4, 4], "ü": {"x": None}}
    gallery.update_settings(values)
    gallery.settings["alpha"] = 9
    assert gallery.settings == values
    gallery.update_settings({"alpha": 0.5, "k": None})
    gallery.close()
    with Gallery.open(gallery.path) as again:
        del values["k"]
        assert again.settings == values | {"alpha": 0.5}
        for bad in ({"x": np.nan}, {"x": {1, 2}}, {"": 1}, {3: 1}, {"a\udcff": 1}):
            with pytest.raises(InputError, match="setting"):
                again.update_settings({"alpha": 1, **bad})  # type: ignore[dict-item]
        assert again.settings["alpha"] == 0.5


def test_stats_and_header(gallery: Gallery, enrolments: Make) -> None:
    assert gallery.stats().bytes_per_face == 0
    gallery.enroll(enrolments(20))
    stats = gallery.stats()
    assert (stats.faces, stats.people, stats.location) == (20, 5, str(gallery.path))
    assert stats.bytes_per_face == stats.file_bytes / 20
    assert stats.header == gallery.header
    header = gallery.header
    assert (header.embedding_size, header.grid, header.channels) == (32, (4, 4), 16)
    assert (header.codec, header.network_name, header.digest) == ("int8", "testnet", "d1" * 32)
    gallery.close()
    with Gallery.open(gallery.path) as again:
        assert again.header == header


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_size": 0},
        {"grid": (0, 4)},
        {"channels": -1},
        {"network_name": ""},
        {"digest": ""},
        {"codec": "zip"},
    ],
)
def test_impossible_galleries(tmp_path: Path, create: Create, changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        create(tmp_path / "x.faceflow", **changes)
    assert list(tmp_path.iterdir()) == []


def test_closing(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(3))
    gallery.close()
    gallery.close()
    assert [p.name for p in gallery.path.parent.iterdir()] == ["people.faceflow"]
    for use in (
        lambda: gallery.enroll(enrolments(1, seed=4)),
        lambda: len(gallery),
        lambda: gallery.search(enrolments(1)[0].features, k=1),
        lambda: gallery.people(),
    ):
        with pytest.raises(GalleryError, match="is closed"):
            use()


def test_a_snapshot_stays_as_it_was(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(3)
    gallery.enroll(items)
    query = items[0].features
    with (
        Gallery.open(gallery.path, readonly=True) as reader,
        Gallery.open(gallery.path, busy_seconds=0.05) as writer,
    ):
        for store in (writer, reader):
            before = len(gallery)
            with store.snapshot() as view:
                writer.enroll(enrolments(2, seed=before))
                writer.rename("Person 1", f"Person {before}1")
                assert len(view) == before
                with view.snapshot() as same:
                    assert same is view
                assert (view.search(query, k=50).face_ids > 0).sum() == before
                assert f"Person {before}1" not in {who.name for who in view.people()}
                # Also when others have searched since.
                assert (store.search(query, k=50).face_ids > 0).sum() == before + 2
                assert (view.search(query, k=50).face_ids > 0).sum() == before
                writer.rename(f"Person {before}1", "Person 1")
            assert len(store) == before + 2
            with pytest.raises(GalleryError, match="the snapshot of people"):
                len(view)


def test_a_snapshot_keeps_faces_that_are_removed_meanwhile(
    gallery: Gallery, enrolments: Make
) -> None:
    items = enrolments(12)
    gallery.enroll(items)
    with Gallery.open(gallery.path, busy_seconds=0.05) as remover, gallery.snapshot() as view:
        before = [view.search(item.features, k=12).face_ids.tolist() for item in items]
        with gallery.snapshot() as second:
            assert not remover.remove_person("Person 2").erased
            remover.enroll(enrolments(3, seed=1))
            # The newest state first, so that the shared embeddings go ahead of the snapshot.
            assert (gallery.search(items[0].features, k=20).face_ids > 0).sum() == 13
            for item, found in zip(items, before, strict=True):
                shortlist = second.search(item.features, k=12)
                assert shortlist.face_ids.tolist() == found
                assert shortlist.cosine[0, 0] == 1.0
            removed = [record.face_id for record in second.faces("Person 2")]
            assert second.person_of(removed) == ["Person 2"] * 2
            assert second.features(removed).embedding.shape == (2, 32)
        assert view.search(items[2].features, k=1).face_ids[0, 0] == removed[0]
    gallery.check()


def test_a_snapshot_outlives_its_gallery(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(3))
    with gallery.snapshot() as view:
        gallery.close()
        assert len(view) == 3
    assert [p.name for p in gallery.path.parent.iterdir()] == ["people.faceflow"]
    with pytest.raises(GalleryError, match="is closed"):
        gallery.people()


def test_more_snapshots_at_once_than_are_kept(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(3))
    with contextlib.ExitStack() as stack:
        views = [stack.enter_context(gallery.snapshot()) for _ in range(20)]
        assert [len(view) for view in views] == [3] * 20
    assert gallery.remove_person("Person 1").erased


def test_a_reader_does_not_write(gallery: Gallery, enrolments: Make) -> None:
    gallery.enroll(enrolments(2))
    with Gallery.open(gallery.path, readonly=True) as reader:
        for change in (
            lambda: reader.enroll(enrolments(1, seed=2)),
            lambda: reader.remove_face(1),
            lambda: reader.remove_person("Person 0"),
            lambda: reader.rename("Person 0", "X"),
            lambda: reader.merge("Person 0", "Person 1"),
            lambda: reader.update_settings({"a": 1}),
        ):
            with pytest.raises(GalleryError, match="read-only"):
                change()
        assert len(reader) == 2


def test_threads_share_a_gallery(gallery: Gallery, enrolments: Make) -> None:
    items = enrolments(200)
    gallery.enroll(items[:20])
    errors: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                with gallery.snapshot() as view:
                    ids = view.search(items[0].features, k=10).face_ids[0]
                    view.features(ids)
                gallery.search(items[1].features, k=10)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    gallery.enroll(items[20:], batch=10)
    gallery.remove_person("Person 3")
    done.set()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert errors == []
    found = gallery.search(items[0].features, k=300).face_ids
    assert (found > 0).sum() == len(gallery) == 160


@pytest.mark.parametrize("ids", [[[1]], [1.5], ["1"], 1])
def test_face_ids_must_be_a_flat_list(gallery: Gallery, ids: list[int]) -> None:
    with pytest.raises(InputError, match="flat list"):
        gallery.features(ids)
