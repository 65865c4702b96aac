"""Features of many photos on disk, so that no photo is analysed twice and memory stays flat.

A store is a folder with one SQLite file per recipe (:attr:`Extractor.digest`: network digest,
detector, cover, seed, choice of face). In it a photo is found by the hash of its bytes, wherever
it lies. Patches are kept as in a gallery (int8 with one scale a patch, 9 KB a face at 8x8x128),
landmark shares beside them;
only embeddings and keys are held in memory, 2 KB a face at D = 256. Photos without a face are
entries too: they are counted and not analysed again.

Photos are added in transactions, so a run that is killed loses at most the last few and a later
run goes on from there; an entry is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from faceflow import analyzer, networks, occlusion
from faceflow.arrays import Bools, Float32, Int64
from faceflow.errors import ImageError, InputError, NoFaceError
from faceflow.evaluation.data import LeftOut, Photo
from faceflow.evaluation.kept_files import opened, unusable
from faceflow.faces import alignment, detectors, images, landmarks
from faceflow.faces.images import content_hash
from faceflow.features import FaceFeatures, Grid
from faceflow.gallery import codec as codecs
from faceflow.gallery.codec import Int8Codec
from faceflow.matching.score import CodedFaces
from faceflow.system.caches import new_key
from faceflow.system.side_by_side import in_order
from faceflow.weights import calling_thread_alone
from faceflow.weights.session import physical_cores

Progress = Callable[[int, int], None]
"""Called with (photos done, photos in all)."""

_TABLES = """
CREATE TABLE IF NOT EXISTS shape (one INTEGER PRIMARY KEY CHECK (one = 1), sizes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS photos (
    hash BLOB PRIMARY KEY, failure TEXT NOT NULL, embedding BLOB NOT NULL, payload BLOB NOT NULL,
    landmarks BLOB NOT NULL
);
"""
_log = logging.getLogger(__name__)

# What features are made by: another release with other code here does not read what this one kept.
_CODE = (alignment, analyzer, codecs, detectors, images, landmarks, networks, occlusion)
# Photos added in one transaction: what a kill can cost.
_BATCH = 32
# Photos looked at ahead of the one that is being kept, for each thread.
_AHEAD = 8
# Keys of one query; SQLite's default limit is far higher.
_KEYS = 500
_WHAT = "features"


class Extract(Protocol):
    """What a store needs of an extractor."""

    @property
    def digest(self) -> str:
        """Names everything the features depend on besides the photo."""
        ...

    @property
    def features_digest(self) -> str:
        """What made the features, see :attr:`FaceFeatures.digest`."""
        ...

    def __call__(self, photo: Photo) -> FaceFeatures:
        """Features of the one face of a photo; raises NoFaceError or ImageError."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the features in one file: D, (h, w) and C."""

    embedding_size: int
    grid: Grid
    channels: int


@dataclass(frozen=True, slots=True, eq=False)
class PhotoFeatures:
    """Features of the photos that show a face, as :func:`faceflow.evaluation.ranking.rank` reads
    them.

    Attributes:
        photos: (M,) those with a face, in the order asked.
        found: (N,) which of the photos asked for have one.
        failures: the others, and why.
        embedding: (M, D) float32, in memory.
        digest: what made the features.
    """

    photos: tuple[Photo, ...]
    found: Bools
    failures: tuple[LeftOut, ...]
    embedding: Float32
    digest: str
    _path: Path
    _keys: tuple[bytes, ...]
    _shape: Shape | None

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, rows: Int64) -> FaceFeatures:
        """Features of the faces in these rows, patches read from disk.

        Raises:
            FaceflowError: the file was removed or changed meanwhile.
        """
        return self.kept(rows).features(landmarks=True)

    def kept(self, rows: Int64) -> KeptRows:
        """The same faces where they are kept, for :func:`faceflow.matching.score.prepare`: it
        reads no more of them than a comparison takes."""
        return KeptRows(self, np.atleast_1d(np.asarray(rows)))

    def fingerprint(self, rows: Int64) -> bytes:
        """What the features in these rows depend on: the recipe, and each photo's bytes."""
        chosen = [self._keys[int(n)] for n in np.atleast_1d(rows)]
        return hashlib.sha256(b"".join([self._path.name.encode(), *chosen])).digest()

    def _parts(self, rows: Int64) -> tuple[Int8Codec, dict[str, Any], list[Float32]]:
        """The codec, the fields of these faces, and their landmark shares (empty: none)."""
        if self._shape is None:
            raise InputError("no photo shows a face, so there are no features to read")
        keys = [self._keys[int(n)] for n in rows]
        kept: dict[bytes, tuple[bytes, bytes]] = {}
        with _opened(self._path) as file:
            wanted = list(dict.fromkeys(keys))
            for part in _parts(wanted):
                marks = ",".join("?" * len(part))
                answers = file.execute(
                    f"SELECT hash, payload, landmarks FROM photos WHERE hash IN ({marks})", part
                )
                kept.update((key, (payload, share)) for key, payload, share in answers)
        if len(kept) < len(wanted):
            raise unusable(self._path, _WHAT, "entries are gone")
        codec = Int8Codec(self._shape.grid, self._shape.channels)
        shares = [np.frombuffer(kept[key][1], dtype="<f4").astype(np.float32) for key in keys]
        return codec, codec.unpack([kept[key][0] for key in keys]), shares


@dataclass(frozen=True, slots=True, eq=False)
class KeptRows:
    """Some faces of a store as :class:`faceflow.matching.score.KeptFaces`."""

    store: PhotoFeatures
    rows: Int64

    @property
    def digest(self) -> str:
        """What made them."""
        return self.store.digest

    @property
    def sizes(self) -> tuple[int, int]:
        """R patches with C numbers each."""
        h, w = self.grid
        return h * w, self._shape.channels

    @property
    def grid(self) -> Grid:
        """(h, w) of the patches."""
        return self._shape.grid

    @property
    def _shape(self) -> Shape:
        if self.store._shape is None:
            raise InputError("no photo shows a face, so there are no features to read")
        return self.store._shape

    def features(self, *, landmarks: bool) -> FaceFeatures:
        """The faces' features, with landmark shares if asked for and known of all."""
        codec, parts, shares = self.store._parts(self.rows)
        patches, norms = codec.expand(parts)
        known = landmarks and bool(shares) and all(len(s) == norms.shape[1] for s in shares)
        return FaceFeatures(
            self.store.embedding[self.rows],
            patches,
            norms,
            parts["pooled"],
            self.grid,
            landmark_share=np.stack(shares) if known else None,
            digest=self.digest,
        )

    def codes(self) -> CodedFaces:
        """Their int8 codes as they lie on disk."""
        codec, parts, _ = self.store._parts(self.rows)
        values, scales = codec.quantised(parts)
        embedding = self.store.embedding[self.rows]
        return CodedFaces(embedding, values, parts["pooled"], scales=scales)


class FeatureStore:
    """A folder of features.

    Args:
        folder: made when missing. Several runs may share it; they may compute a photo twice,
            which does no harm.
        threads: photos analysed side by side; None: one on each physical core.
    """

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self.folder = folder
        self.threads = threads

    def path(self, extract: Extract) -> Path:
        """The file of one recipe, made with the code as it is now."""
        key = new_key("features 3", *_CODE)
        key.update(extract.digest.encode())
        return self.folder / f"features-{key.hexdigest()[:24]}.sqlite"

    def features(
        self, photos: Sequence[Photo], extract: Extract, *, progress: Progress | None = None
    ) -> PhotoFeatures:
        """Features of photos, computed where they are not kept yet.

        Args:
            photos: in any number; a photo may occur twice.
            extract: how features are made; called from several threads at once.
            progress: called after each photo.

        Raises:
            FaceflowError: the store cannot be read or written (a file that is no database any
                more is reported and made again); and what ``extract`` raises besides NoFaceError
                and ImageError.
        """
        path = self.path(extract)
        _remove_damaged(path)
        with _opened(path) as file:
            file.executescript(_TABLES)
            keys, failures = self._complete(file, photos, extract, progress)
            shape = _shape(file, path)
            answers = _answers(file, path, list(dict.fromkeys(k for k in keys if k)), shape)
        found = np.zeros(len(photos), dtype=np.bool_)
        embeddings: list[Float32] = []
        for n, key in enumerate(keys):
            answer = answers.get(key)
            if isinstance(answer, np.ndarray):
                found[n] = True
                embeddings.append(answer)
            elif answer is not None:
                failures.append(LeftOut(photos[n].path, answer))
        rows = np.flatnonzero(found).tolist()
        size = 0 if shape is None else shape.embedding_size
        return PhotoFeatures(
            photos=tuple(photos[n] for n in rows),
            found=found,
            failures=tuple(failures),
            embedding=np.stack(embeddings) if embeddings else np.empty((0, size), np.float32),
            digest=extract.features_digest,
            _path=path,
            _keys=tuple(keys[n] for n in rows),
            _shape=shape,
        )

    def _complete(
        self,
        file: sqlite3.Connection,
        photos: Sequence[Photo],
        extract: Extract,
        progress: Progress | None,
    ) -> tuple[list[bytes], list[LeftOut]]:
        """Compute what is missing; returns each photo's key (empty: unreadable) and the
        unreadable ones."""
        keys: list[bytes] = []
        unreadable: list[LeftOut] = []
        known = {row[0] for row in file.execute("SELECT hash FROM photos")}

        def missing() -> Iterator[tuple[Photo, bytes]]:
            """Each photo with its key, or an empty one where there is nothing to compute."""
            for photo in photos:
                try:
                    key = bytes.fromhex(content_hash(photo.image))
                except ImageError as error:
                    keys.append(b"")
                    unreadable.append(LeftOut(photo.path, error.what))
                    yield photo, b""
                    continue
                keys.append(key)
                yield photo, b"" if key in known else key
                known.add(key)

        def work(item: tuple[Photo, bytes]) -> _Entry | None:
            photo, key = item
            with calling_thread_alone():
                return _entry(key, photo, extract) if key else None

        waiting: list[_Entry] = []
        threads = self.threads or physical_cores()
        answers = in_order(work, missing(), threads=threads, ahead=_AHEAD * threads)
        with contextlib.closing(answers):
            for done, (_, entry) in enumerate(answers, 1):
                if entry is not None:
                    waiting.append(entry)
                if len(waiting) >= _BATCH:
                    _save(file, waiting)
                if progress is not None:
                    progress(done, len(photos))
        _save(file, waiting)
        return keys, unreadable


@dataclass(frozen=True, slots=True)
class _Entry:
    """A photo's answer, ready to be kept; ``sizes`` is empty without a face."""

    key: bytes
    failure: str = ""
    embedding: bytes = b""
    payload: bytes = b""
    landmarks: bytes = b""
    sizes: tuple[int, ...] = ()


def _entry(key: bytes, photo: Photo, extract: Extract) -> _Entry:
    try:
        features = extract(photo)
    except NoFaceError:
        return _Entry(key, "no face was found")
    except ImageError as error:
        return _Entry(key, "the photo cannot be read" + (f": {error.why}" if error.why else ""))
    sizes = (features.embedding.shape[1], *features.grid, features.patches.shape[2])
    payload = Int8Codec(features.grid, sizes[3]).encode(features)[0]
    share = features.landmark_share
    return _Entry(
        key,
        "",
        features.embedding.astype("<f4").tobytes(),
        payload,
        b"" if share is None else share.astype("<f4").tobytes(),
        sizes,
    )


def _save(file: sqlite3.Connection, waiting: list[_Entry]) -> None:
    """One transaction, begun only now: the file is not locked while photos are analysed."""
    sizes = next((entry.sizes for entry in waiting if entry.sizes), None)
    if sizes is not None:
        file.execute("INSERT OR IGNORE INTO shape VALUES (1, ?)", [json.dumps(sizes)])
    file.executemany(
        "INSERT OR IGNORE INTO photos VALUES (?, ?, ?, ?, ?)",
        [
            (entry.key, entry.failure, entry.embedding, entry.payload, entry.landmarks)
            for entry in waiting
        ],
    )
    file.commit()
    waiting.clear()


def _shape(file: sqlite3.Connection, path: Path) -> Shape | None:
    row = file.execute("SELECT sizes FROM shape").fetchone()
    if row is None:
        return None
    try:
        size, h, w, channels = json.loads(row[0])
    except (ValueError, TypeError) as error:
        raise unusable(path, _WHAT, str(error)) from error
    return Shape(size, (h, w), channels)


def _answers(
    file: sqlite3.Connection, path: Path, keys: list[bytes], shape: Shape | None
) -> dict[bytes, Float32 | str]:
    """Embedding or failure of each key."""
    found: dict[bytes, Float32 | str] = {}
    for part in _parts(keys):
        marks = ",".join("?" * len(part))
        rows = file.execute(
            f"SELECT hash, failure, embedding FROM photos WHERE hash IN ({marks})", part
        )
        for key, failure, data in rows:
            if failure:
                found[key] = failure
                continue
            if shape is None or len(data) != 4 * shape.embedding_size:
                raise unusable(path, _WHAT, "an embedding has another size than the file says")
            found[key] = np.frombuffer(data, dtype="<f4").astype(np.float32)
    return found


def _parts(keys: list[bytes]) -> Iterator[list[bytes]]:
    return (keys[start : start + _KEYS] for start in range(0, len(keys), _KEYS))


def _remove_damaged(path: Path) -> None:
    """Make room for a new file where this one is no database any more.

    A run that has it open meanwhile loses what it adds, and no more.
    """
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as file:
            file.execute("SELECT hash FROM photos LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return  # a table that is not there yet, a lock: whoever opens it next says so
        _log.warning("The features in %s are damaged and computed again: %s", path, error)
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work, with a log that readers need not wait for."""
    with opened(path, _WHAT) as file:
        file.execute("PRAGMA journal_mode=WAL")
        yield file
