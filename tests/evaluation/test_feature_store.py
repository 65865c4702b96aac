"""The store of features: the extractor's up to 8 bits, resumable, honest about misses."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import FaceflowError, NoFaceError
from faceflow.evaluation.data import Photo
from faceflow.evaluation.feature_store import FeatureStore
from faceflow.features import FaceFeatures
from faceflow.gallery.codec import Int8Codec

Make = Callable[..., FaceFeatures]


class Counted:
    """Random features that depend on the photo's bytes alone; photos of b"sky..." have no face."""

    def __init__(self, make: Make, digest: str = "a" * 64) -> None:
        self.make, self.digest, self.calls = make, digest, 0
        self.features_digest = "example+mtcnn"

    def __call__(self, photo: Photo) -> FaceFeatures:
        self.calls += 1
        assert isinstance(photo.image, bytes)
        if photo.image.startswith(b"sky"):
            raise NoFaceError("No face")
        return self.make(1, seed=sum(photo.image), grid=(4, 4), channels=8, size=16)


def photos(*contents: bytes) -> list[Photo]:
    return [Photo(Path("set.bin"), "Ada", f"{n}", content=c) for n, c in enumerate(contents)]


def test_features_are_those_of_the_extractor_in_8_bits(
    tmp_path: Path, random_features: Make
) -> None:
    extract = Counted(random_features)
    asked = photos(b"one", b"sky", b"two", b"one")
    kept = FeatureStore(tmp_path).features(asked, extract)
    assert kept.found.tolist() == [True, False, True, True]
    assert [item.why for item in kept.failures] == ["no face was found"]
    assert extract.calls == 3
    direct = FaceFeatures.concatenate([extract(asked[n]) for n in (0, 2, 3)])
    np.testing.assert_array_equal(kept.embedding, direct.embedding)
    assert kept.digest == kept[np.array([0])].digest == extract.features_digest
    codec = Int8Codec((4, 4), 8)
    patches, norms = codec.expand(codec.compress(direct))
    read = kept[np.array([2, 0, 1])]
    np.testing.assert_array_equal(read.patches, patches[[2, 0, 1]])
    np.testing.assert_array_equal(read.norms, norms[[2, 0, 1]])
    np.testing.assert_array_equal(read.pooled, direct.pooled[[2, 0, 1]])
    assert len(kept[np.array([], dtype=np.int64)]) == 0


def test_landmarks_are_kept_where_there_are_any(tmp_path: Path, random_features: Make) -> None:
    class Marked(Counted):
        def __call__(self, photo: Photo) -> FaceFeatures:
            features = super().__call__(photo)
            assert isinstance(photo.image, bytes)
            if photo.image == b"bare":
                return features
            share = np.random.default_rng(sum(photo.image)).random((1, 16))
            return features.with_landmarks(share.astype(np.float32))

    extract = Marked(random_features)
    asked = photos(b"one", b"bare", b"two")
    kept = FeatureStore(tmp_path).features(asked, extract)
    shares = kept[np.array([2, 0])].landmark_share
    direct = [extract(asked[n]).landmark_share for n in (2, 0)]
    assert shares is not None
    np.testing.assert_array_equal(shares, np.concatenate([d for d in direct if d is not None]))
    assert kept[np.array([0, 1])].landmark_share is None


def test_photos_are_analysed_side_by_side_and_kept_in_order(
    tmp_path: Path, random_features: Make
) -> None:
    """Each of three photos waits until all three are being looked at."""
    together = threading.Barrier(3, timeout=30)

    class Meeting(Counted):
        def __call__(self, photo: Photo) -> FaceFeatures:
            together.wait()
            return super().__call__(photo)

    asked = photos(b"one", b"two", b"three")
    kept = FeatureStore(tmp_path, threads=3).features(asked, Meeting(random_features))
    plain = Counted(random_features)
    np.testing.assert_array_equal(
        kept.embedding, np.concatenate([plain(photo).embedding for photo in asked])
    )


def test_nothing_is_computed_twice_and_recipes_do_not_mix(
    tmp_path: Path, random_features: Make
) -> None:
    asked = photos(b"one", b"sky")
    FeatureStore(tmp_path).features(asked, Counted(random_features))
    again, other = Counted(random_features), Counted(random_features, "b" * 64)
    done: list[tuple[int, int]] = []
    store = FeatureStore(tmp_path)
    kept = store.features([*asked, *photos(b"new")], again, progress=lambda *n: done.append(n))
    assert again.calls == 1
    assert len(kept.failures) == 1
    assert done == [(1, 3), (2, 3), (3, 3)]
    store.features(asked, other)
    assert other.calls == 2


def test_a_photo_that_cannot_be_opened_is_a_failure(tmp_path: Path, random_features: Make) -> None:
    missing = Photo(tmp_path / "none.jpg", "Ada", "none")
    kept = FeatureStore(tmp_path).features([missing], Counted(random_features))
    assert kept.found.tolist() == [False]
    assert len(kept.failures) == 1
    assert kept.embedding.shape[0] == 0


def test_a_killed_run_goes_on(tmp_path: Path, random_features: Make) -> None:
    """kill -9 in the middle: what was committed is there, whole, and the rest is computed."""
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from pathlib import Path
from test_feature_store import Counted, photos
from faceflow.evaluation.feature_store import FeatureStore
from faceflow.features import FaceFeatures
def make(n, *, seed, grid, channels, size):
    rng = np.random.default_rng(seed)
    return FaceFeatures.from_maps(rng.standard_normal((n, size)),
                                  rng.standard_normal((n, channels, *grid)))
def tell(done, total):
    if done == 50:
        os.kill(os.getpid(), signal.SIGKILL)
asked = photos(*(b"photo %d" % n for n in range(64)))
FeatureStore(Path({str(tmp_path)!r})).features(asked, Counted(make), progress=tell)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    extract = Counted(random_features)
    asked = photos(*(b"photo %d" % n for n in range(64)))
    kept = FeatureStore(tmp_path).features(asked, extract)
    assert extract.calls == 32  # one transaction of 32 was kept
    assert kept.found.all()
    assert np.isfinite(kept[np.arange(64)].patches).all()


def test_a_damaged_file_is_told_or_made_again(
    tmp_path: Path, random_features: Make, caplog: pytest.LogCaptureFixture
) -> None:
    extract = Counted(random_features)
    store = FeatureStore(tmp_path)
    kept = store.features(photos(b"one"), extract)
    with sqlite3.connect(store.path(extract)) as file:
        file.execute("UPDATE photos SET embedding = x'00'")
    file.close()
    with pytest.raises(FaceflowError, match="another size"):
        store.features(photos(b"one"), extract)
    for path in tmp_path.iterdir():
        path.write_bytes(b"no database" * 100)
    with pytest.raises(FaceflowError, match="delete the file"):
        kept[np.array([0])]
    with caplog.at_level(logging.WARNING):
        again = store.features(photos(b"one"), extract)
    assert "damaged and computed again" in caplog.text
    assert extract.calls == 2
    np.testing.assert_array_equal(again.embedding, kept.embedding)
    assert np.isfinite(again[np.array([0])].patches).all()


def test_other_code_finds_nothing_of_this(
    tmp_path: Path, random_features: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = Counted(random_features)
    FeatureStore(tmp_path).features(photos(b"one"), extract)
    monkeypatch.setattr("faceflow.system.caches.source_digest", lambda module: f"new {module}")
    FeatureStore(tmp_path).features(photos(b"one"), extract)
    assert extract.calls == 2


def test_another_run_may_write_meanwhile(tmp_path: Path, random_features: Make) -> None:
    """The file is not locked while a photo is analysed."""
    store = FeatureStore(tmp_path)
    inner = Counted(random_features)

    class Nested(Counted):
        def __call__(self, photo: Photo) -> FaceFeatures:
            if photo.image == b"two":
                FeatureStore(tmp_path).features(photos(b"three", b"two"), inner)
            return super().__call__(photo)

    outer = Nested(random_features)
    kept = store.features(photos(b"one", b"two", b"three"), outer)
    assert kept.found.all()
    assert inner.calls == 2
    direct = FaceFeatures.concatenate([inner(photo) for photo in photos(b"one", b"two", b"three")])
    np.testing.assert_array_equal(kept.embedding, direct.embedding)
