"""The public face of an enrolled set of people."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from faceflow.arrays import Int64
from faceflow.errors import GalleryError, GalleryMismatchError, InputError
from faceflow.features import DEFAULT_DETECTOR, Grid
from faceflow.gallery.identity import NetworkLike, make_header, require_own_space
from faceflow.gallery.person_names import person_name
from faceflow.gallery.preparing import prepare
from faceflow.gallery.reading import GalleryView, ReadableGallery, flat_ids
from faceflow.gallery.records import (
    Change,
    Enrolment,
    EnrolReport,
    GalleryStats,
    ImportReport,
    SharedPhoto,
)
from faceflow.gallery.search import EmbeddingIndex
from faceflow.gallery.stores.location import is_url
from faceflow.gallery.stores.opening import Location, create_store, open_store, store_exists
from faceflow.gallery.stores.store import Store, StoreView
from faceflow.gallery.transfer import export_gallery, import_gallery


class Gallery(ReadableGallery):
    """People and their faces in one file or database, with exact search over all of them.

    Durable: once :meth:`enroll` returns, its faces survive a kill of the process and a power
    cut; a batch is in the file as a whole or not at all. Other processes may read while one
    writes, and see new faces at their next search. A gallery object may be used from several
    threads; after a fork, open it again. Ask for several things of one state through
    :meth:`snapshot`.

    Memory: the embeddings are loaded at the first search (n * D * 4 bytes) and kept; patches
    stay on disk and are fetched for a shortlist. Enrolling holds one batch.

    Example:
        >>> import numpy as np, tempfile
        >>> from pathlib import Path
        >>> from faceflow.features import FaceFeatures
        >>> from faceflow.gallery import Enrolment, Gallery
        >>> rng = np.random.default_rng(0)
        >>> faces = FaceFeatures.from_maps(
        ...     rng.standard_normal((2, 16)), rng.standard_normal((2, 8, 4, 4)))
        >>> path = Path(tempfile.mkdtemp()) / "people.faceflow"
        >>> with Gallery.create(path, network_name="example", digest="00", embedding_size=16,
        ...                     grid=(4, 4), channels=8) as gallery:
        ...     faces = faces.as_from(gallery.features_digest)
        ...     report = gallery.enroll([
        ...         Enrolment("Ada", "ada.jpg", "a" * 64, faces[0]),
        ...         Enrolment("Grace", "grace.jpg", "b" * 64, faces[1])])
        ...     shortlist = gallery.search(faces[1], k=2)
        ...     gallery.person_of(shortlist.face_ids[0])
        ['Grace', 'Ada']
    """

    # Opening and closing

    def __init__(self, store: Store, device: str | None = None) -> None:
        """Wrap an open store; users call :meth:`create`, :meth:`open` or :meth:`open_or_create`."""
        super().__init__(
            store.location,
            store.name,
            store.header,
            EmbeddingIndex(store.header.embedding_size, device),
        )
        self._store = store

    @classmethod
    def create(
        cls,
        location: Location,
        *,
        network_name: str,
        digest: str,
        embedding_size: int,
        grid: Grid,
        channels: int,
        codec: str = "int8",
        thumbnails: bool = True,
        detector: str = DEFAULT_DETECTOR,
        busy_seconds: float = 5.0,
        device: str | None = None,
    ) -> Gallery:
        """Make an empty gallery and open it for writing.

        Args:
            location: the file to make, by custom it ends in ``.faceflow``; or the URL of a
                PostgreSQL database, ``postgresql://user@host/database?schema=faceflow``, whose
                schema is made.
            network_name: the network whose features it will hold.
            digest: that network's digest.
            embedding_size: D.
            grid: (h, w) of the patches.
            channels: C.
            codec: ``int8`` (R * (C + 4) bytes of patches a face), ``float32`` (exact, four times
                as large), or ``none``: embeddings alone, for stage 1 alone.
            thumbnails: keep a small picture of each face.
            detector: whose landmarks align its faces, see ``FaceAnalyzer.detector_name``.
            busy_seconds: how long to wait while another process writes.
            device: as for :meth:`open`.

        Raises:
            GalleryError: the location is taken, or its folder is missing or not writable.
            InputError: a size below 1, an empty name, an unknown codec.
        """
        header = make_header(
            network_name=network_name,
            digest=digest,
            embedding_size=embedding_size,
            grid=grid,
            channels=channels,
            codec=codec,
            thumbnails=thumbnails,
            detector=detector,
        )
        create_store(location, header)
        return cls(open_store(location, busy_seconds=busy_seconds), device)

    @classmethod
    def open(
        cls,
        location: Location,
        *,
        readonly: bool = False,
        network: NetworkLike | None = None,
        busy_seconds: float = 5.0,
        device: str | None = None,
    ) -> Gallery:
        """Open a gallery; takes milliseconds, embeddings are read at the first search.

        Args:
            location: the gallery file, or the URL of a PostgreSQL database.
            readonly: refuse changes; works where the file or its folder may not be written.
            network: refuse a gallery that holds another network's features.
            busy_seconds: how long to wait while another process writes.
            device: where it is searched, a device of PyTorch like "cuda:1", if the embeddings
                fit into its memory; the answers are the CPU's to the last bit. None: the CPU.

        Raises:
            GalleryError: missing, not a gallery, damaged, not writable, or in use.
            GalleryMismatchError: it was made for another network.
        """
        store = open_store(location, readonly=readonly, busy_seconds=busy_seconds)
        gallery = cls(store, device)
        if network is not None:
            try:
                gallery.require_network(network)
            except GalleryMismatchError:
                gallery.close()
                raise
        return gallery

    @staticmethod
    def exists(location: Location) -> bool:
        """Whether there is a gallery at a location, or for a path anything of that name.

        Raises:
            GalleryError: the server cannot be reached.
        """
        return store_exists(location)

    @classmethod
    def open_or_create(
        cls,
        location: Location,
        network: NetworkLike,
        *,
        codec: str = "int8",
        thumbnails: bool = True,
        detector: str = DEFAULT_DETECTOR,
        device: str | None = None,
    ) -> Gallery:
        """Open a gallery for this network and detector, making it if there is none.

        ``codec`` and ``thumbnails`` matter only when it is made. Errors as in :meth:`open`
        and :meth:`create`.
        """
        if not store_exists(location):
            spec = network.spec
            require_own_space("a new gallery", network)
            return cls.create(
                location,
                network_name=spec.name,
                digest=network.digest,
                embedding_size=spec.embedding_size,
                grid=spec.grid,
                channels=spec.channels,
                codec=codec,
                thumbnails=thumbnails,
                detector=detector,
                device=device,
            )
        gallery = cls.open(location, network=network, device=device)
        try:
            gallery.require_detector(detector)
        except GalleryMismatchError:
            gallery.close()
            raise
        return gallery

    def close(self) -> None:
        """Let go of the file; of what SQLite keeps beside it nothing is left.

        Snapshots that other threads still hold stay valid until they end.
        """
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The gallery's file. GalleryError where it is kept in a database server."""
        if is_url(self.location):
            raise GalleryError(f"{self.name} is not a file", why=f"it is kept at {self.location}")
        return Path(self.location)

    # Reading, see ReadableGallery

    def _reading(self) -> AbstractContextManager[StoreView]:
        return self._store.snapshot()

    @contextmanager
    def snapshot(self) -> Iterator[GalleryView]:
        """See :meth:`ReadableGallery.snapshot`."""
        with self._store.snapshot() as store:
            yield GalleryView(self.location, self.name, self._header, self._index, store)

    def stats(self) -> GalleryStats:
        """Size and origin."""
        with self.snapshot() as view:
            faces, people = len(view), view.count_people()
        size = self._store.size_bytes()
        return GalleryStats(
            self.location, faces, people, size, size / faces if faces else 0.0, self._header
        )

    # Changing

    def enroll(
        self,
        items: Iterable[Enrolment],
        *,
        batch: int = 64,
        on_commit: Callable[[EnrolReport], None] | None = None,
    ) -> EnrolReport:
        """Add faces, a batch at a time; each batch is written whole or not at all.

        The same content for the same person again is a no-op, counted in ``duplicates``. The
        same photo for another person is added and listed in ``shared``.

        Args:
            items: any iterable, consumed as it goes; memory holds one batch.
            batch: faces per transaction. Larger is a little faster, smaller loses less work
                when the process is killed.
            on_commit: called after each batch with its report; from then on its faces are
                safe.

        Returns:
            The sum of the batches' reports.

        Raises:
            InputError: a name, hash, box or features that cannot be kept.
            GalleryMismatchError: features of another network or detector than the gallery's.
            GalleryError: disk full, in use, read-only. The batches before are kept.
        """
        if not 1 <= batch <= sys.maxsize:
            raise InputError(f"batch is {batch}", why="it must be at least 1")
        reports: list[EnrolReport] = []
        remaining = iter(items)
        while chunk := list(itertools.islice(remaining, batch)):
            reports.append(self._enroll_batch(chunk))
            if on_commit is not None:
                on_commit(reports[-1])
        return EnrolReport.total(reports)

    def _enroll_batch(self, items: Sequence[Enrolment]) -> EnrolReport:
        faces = prepare(items, self.name, self._header, self._codec)
        added = self._store.add(faces)
        shared = [
            SharedPhoto(face.record.source, face.record.person, result.others)
            for face, result in zip(faces, added, strict=True)
            if result.others and result.face_id is not None
        ]
        each = tuple(result.face_id for result in added)
        ids = tuple(face_id for face_id in each if face_id is not None)
        return EnrolReport(len(ids), len(faces) - len(ids), ids, tuple(shared), each)

    def remove_face(self, face_id: int) -> Change:
        """Remove one face, and its person if it was the last; erased from the file.

        Erased means: not in the file or its log any more, see :class:`Change`. What a file
        system, an SSD or a backup keeps of former content is out of reach.

        Raises:
            GalleryError: no such face.
        """
        return self._store.remove_faces([int(face_id)])

    def remove_person(self, person: str | int) -> Change:
        """Remove a person with all faces; erased from the file as in :meth:`remove_face`.

        Args:
            person: the name, or the ``person_id``, which no rename meanwhile can make another's.

        Raises:
            GalleryError: no such person; the message names similar ones.
        """
        return self._store.remove_person(_who(person))

    def rename(self, old: str | int, new: str) -> Change:
        """Give a person, by name or ``person_id``, another name; the old one is erased.

        Raises:
            GalleryError: there is no ``old``, or there already is a ``new``.
        """
        return self._store.rename(_who(old), person_name(new))

    def merge(self, source: str | int, target: str | int) -> Change:
        """Move all faces of ``source`` to ``target``; ``source`` is gone afterwards.

        Each is said by name or by ``person_id``.

        Where both have the same photo, ``target``'s face is kept and the other counted in
        ``dropped``.

        Raises:
            GalleryError: one of them does not exist.
            InputError: both are the same person.
        """
        return self._store.merge(_who(source), _who(target))

    def move_faces(self, face_ids: Sequence[int] | Int64, person: str) -> Change:
        """Give faces to a person, who is made if needed: undoes a wrong merge or enrolment.

        People left without faces are gone, and erased from the file as in :meth:`remove_face`.
        Where the person would have the same photo twice, the face that was there first is kept
        and the other counted in ``dropped``. Faces that already are the person's stay as they
        are and are not counted.

        Raises:
            GalleryError: no such face; nothing is moved then.
            InputError: a name that nobody can have.
        """
        return self._store.move_faces(flat_ids(face_ids), person_name(person))

    def update_settings(self, values: Mapping[str, Any]) -> None:
        """Set values that JSON can hold; None removes a setting.

        Raises:
            InputError: a name that is not text, or a value JSON cannot hold (NaN included).
        """
        for name, value in values.items():
            _require_setting(name, value)
        self._store.update_settings(values)

    # Moving

    def export(
        self,
        target: str | Path,
        *,
        overwrite: bool = False,
        patches: bool = False,
        thumbnails: bool = False,
    ) -> Path:
        """Write the gallery for other programs or places, see :mod:`faceflow.gallery.transfer`.

        The end of the name decides: ``.parquet`` makes a Parquet file and ``.lance`` a Lance
        folder, a row a face, with records and embeddings; anything else a folder of safetensors
        and JSON that holds everything. An export is a copy: what is removed from the gallery
        stays in it.

        Args:
            target: made by the export; it appears whole or not at all, for its owner to read.
            overwrite: replace a former export of that name. Anything else is never touched.
            patches: add the patches to a table, so that it makes the same gallery again.
            thumbnails: add the small pictures to a table.

        Returns:
            The path.

        Raises:
            GalleryError: the name is taken, or cannot be written.
            MissingExtraError: the package for such a table is not installed.
        """
        return export_gallery(
            self._store,
            Path(target),
            overwrite=overwrite,
            patches=patches,
            thumbnails=thumbnails,
        )

    @classmethod
    def import_from(cls, source: str | Path, location: Location) -> Gallery:
        """Make a gallery from an export: same records, ids, features and search results.

        Everything is checked first (hashes, shapes, numbers, names); a bad export leaves
        nothing behind. Of a table without patches it becomes one that is searched by embeddings
        alone.

        Args:
            source: what :meth:`export` wrote, in any of its forms.
            location: the gallery to make, a file or a URL; must not exist.

        Raises:
            GalleryError: the export is incomplete, damaged or not an export, or the path is
                taken.
            MissingExtraError: the package for such a table is not installed.
        """
        import_gallery(Path(source), location)
        return cls.open(location)

    @staticmethod
    def import_embeddings(
        embeddings: str | Path,
        location: Location,
        *,
        network: str,
        detector: str,
        people: str | Path | None = None,
        patches: str | Path | None = None,
    ) -> ImportReport:
        """Make a gallery of embeddings that another program computed.

        Nothing in them says what made them, so ``network`` and ``detector`` are your word for it;
        their sizes are checked. Without patches the gallery ranks by embeddings alone (alpha 0),
        and explains nothing. See :mod:`faceflow.gallery.transfer.foreign`.

        Args:
            embeddings: an ``.npy`` file of (N, D) floats, or the pickle (``.pkl``) that DeepFace
                keeps in a folder of photos, of which nothing is executed.
            location: the gallery to make, a file or a URL; must not exist.
            network: the network that made them, known here by that name.
            detector: the detector that aligned the faces.
            people: for an ``.npy`` file, a CSV file with the column person and, if known, path and
                sha256: a line a face, in the same order.
            patches: for an ``.npy`` file, another one of (N, C, h, w) raw feature maps.

        Raises:
            InputError: unknown names, or arrays of other sizes or numbers than they must have.
            GalleryError: a pickle of another kind, or the location is taken.
            WeightsError: the network was not imported here.
        """
        source = Path(embeddings)
        if source.suffix in (".pkl", ".pickle"):
            from faceflow.gallery.transfer.deepface import import_deepface

            return import_deepface(source, location, network=network, detector=detector)
        if people is None:
            raise InputError(
                f"nobody says who {source} shows",
                todo="give a CSV file with a line a face and the column person (--names FILE)",
            )
        from faceflow.gallery.transfer.arrays import import_arrays

        return import_arrays(
            source,
            Path(people),
            location,
            network=network,
            detector=detector,
            patches=None if patches is None else Path(patches),
        )


def _who(person: str | int) -> str | int:
    """A person's id as it is, a name as it is kept."""
    return person_name(person) if isinstance(person, str) else int(person)


def _require_setting(name: Any, value: Any) -> None:
    if not isinstance(name, str) or not name:
        raise InputError(f"a setting's name must be text, got {name!r}")
    try:
        name.encode()
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the setting {name!r} cannot be kept", why=str(error)) from error
