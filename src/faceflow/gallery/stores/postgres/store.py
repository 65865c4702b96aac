"""Faces in a schema of a PostgreSQL database: a gallery that several machines share."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import psycopg
from psycopg import errors, sql

from faceflow.errors import GalleryError, InputError
from faceflow.gallery.identity import GalleryHeader
from faceflow.gallery.records import Change
from faceflow.gallery.stores.location import ServerLocation, server_location
from faceflow.gallery.stores.postgres import changes, schema
from faceflow.gallery.stores.postgres.connecting import Connection, Readers, connect
from faceflow.gallery.stores.postgres.erasing import erase, remains
from faceflow.gallery.stores.postgres.errors import translated
from faceflow.gallery.stores.postgres.view import PostgresView
from faceflow.gallery.stores.rows import seal_header, unseal_header
from faceflow.gallery.stores.seal import damaged, seal
from faceflow.gallery.stores.store import Added, StoredFace

_LONGEST_WAIT = 86_400


class PostgresStore:
    """See :class:`faceflow.gallery.stores.store.Store` for what each method promises.

    May be used from several threads and machines: one changes at a time, and each snapshot has a
    connection of its own. Connections that broke are made anew by the next call.
    """

    def __init__(self, url: str, *, readonly: bool = False, busy_seconds: float = 5.0) -> None:
        if not 0 <= busy_seconds <= _LONGEST_WAIT:
            raise InputError(
                f"busy_seconds is {busy_seconds}", why=f"0 to {_LONGEST_WAIT} are possible"
            )
        self._place = server_location(url)
        self.location = self._place.shown
        self.name = self._place.shown
        self._readonly = readonly
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._closed = False
        self._owed = False
        self._readers = Readers(self._place, busy_seconds=busy_seconds)
        self._writer: Connection = connect(
            self._place, readonly=readonly, busy_seconds=busy_seconds
        )
        try:
            with translated(self._place):
                self.header = _header(self._writer, self.location)
            if not readonly:
                # A process killed after removing somebody may have left the old rows there.
                self._owed = True
                self._erase_owed()
        except BaseException:
            self._writer.close()
            raise

    @staticmethod
    def create(url: str, header: GalleryHeader) -> None:
        """Make an empty gallery in a schema that does not exist yet; whole or not at all."""
        place = server_location(url)
        connection = connect(place, readonly=False, busy_seconds=5)
        try:
            with translated(place), connection.transaction():
                row = connection.execute("SHOW server_encoding").fetchone()
                if row != ("UTF8",):
                    raise GalleryError(
                        f"cannot create {place.shown}: the database is not in UTF8",
                        todo="make a database with ENCODING 'UTF8'",
                    )
                named = sql.Identifier(place.schema)
                try:
                    connection.execute(sql.SQL("CREATE SCHEMA {}").format(named))
                except (errors.DuplicateSchema, errors.UniqueViolation) as error:
                    raise already_there(place) from error
                connection.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(named))
                for statement in schema.statements():
                    connection.execute(statement.encode())
                connection.execute(
                    "INSERT INTO header VALUES(1, %s, %s)", (schema.FORMAT, seal_header(header))
                )
                connection.execute("INSERT INTO state VALUES(1, 0, 0, 0, %s)", (os.urandom(16),))
        finally:
            connection.close()

    @classmethod
    @contextlib.contextmanager
    def making(cls, url: str, header: GalleryHeader) -> Iterator[Self]:
        """A gallery in a schema of another name, which gets its own after the block.

        What a killed process left of one is removed by the next that makes the same gallery.
        """
        place = server_location(url)
        partial = place.with_schema(f"{place.schema}_unfinished")
        keeper = connect(place, readonly=False, busy_seconds=5)
        try:
            with translated(place):
                mine = keeper.execute(
                    "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (partial.schema,)
                ).fetchone()
                if mine != (True,):
                    raise GalleryError(
                        f"cannot create {place.shown}: another program is making it",
                        todo="wait until it has finished",
                    )
                if cls.exists(url):
                    raise already_there(place)
                named = sql.Identifier(partial.schema)
                keeper.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(named))
            cls.create(partial.url, header)
            try:
                store = cls(partial.url)
                try:
                    yield store
                finally:
                    store.close()
                with translated(place):
                    try:
                        keeper.execute(
                            sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(
                                named, sql.Identifier(place.schema)
                            )
                        )
                    except errors.DuplicateSchema as error:
                        raise already_there(place) from error
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    keeper.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(named))
                raise
        finally:
            keeper.close()

    @staticmethod
    def exists(url: str) -> bool:
        """Whether the schema has a gallery."""
        place = server_location(url)
        connection = connect(place, readonly=True, busy_seconds=5)
        try:
            with translated(place):
                row = connection.execute(
                    "SELECT to_regclass(%s)", (f"{place.schema}.header",)
                ).fetchone()
                return row is not None and row[0] is not None
        finally:
            connection.close()

    # Changing

    def add(self, faces: Sequence[StoredFace]) -> list[Added]:
        """One transaction, by COPY."""
        with self._writing() as (connection, state):
            added = changes.add(connection, state, faces)
        self._erase_owed()
        return added

    def remove_faces(self, face_ids: Sequence[int]) -> Change:
        """One transaction; then what they lay in is written anew."""
        with self._writing() as (connection, state):
            removed = changes.remove_faces(connection, state, face_ids)
        return self._erased(removed, 0)

    def remove_person(self, person: str | int) -> Change:
        """One transaction; then what the faces lay in is written anew."""
        with self._writing() as (connection, state):
            removed = changes.remove_person(connection, state, changes.require(connection, person))
        return self._erased(removed, 0)

    def rename(self, old: str | int, new: str) -> Change:
        """One transaction; then the list of people is written anew."""
        with self._writing() as (connection, _):
            faces = changes.rename(connection, changes.require(connection, old), new)
        return self._erased(faces, 0)

    def merge(self, source: str | int, target: str | int) -> Change:
        """One transaction; then what was removed is erased."""
        with self._writing() as (connection, state):
            old, new = changes.require(connection, source), changes.require(connection, target)
            moved, dropped = changes.merge(connection, state, old, new)
        return self._erased(moved, dropped)

    def move_faces(self, face_ids: Sequence[int], person: str) -> Change:
        """One transaction; then what was removed is erased."""
        with self._writing() as (connection, state):
            moved, dropped = changes.move_faces(connection, state, face_ids, person)
        return self._erased(moved, dropped)

    def update_settings(self, values: Mapping[str, Any]) -> None:
        """One transaction."""
        with self._writing() as (connection, _):
            for name, value in values.items():
                connection.execute("DELETE FROM setting WHERE name = %s", (name.encode(),))
                if value is not None:
                    content = json.dumps(value, allow_nan=False).encode()
                    connection.execute(
                        "INSERT INTO setting VALUES(%s, %s)",
                        (name.encode(), seal(f"setting {name}", (), content)),
                    )

    # Reading

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[PostgresView]:
        """A transaction on a connection of its own."""
        with self._readers.connection() as connection:
            view = PostgresView(connection, self.header, self._place)
            try:
                yield view
            finally:
                view.end()

    def size_bytes(self) -> int:
        """Bytes of all tables and indexes."""
        with self._lock, translated(self._place):
            row: Any = (
                self._live()
                .execute(
                    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
                    " JOIN pg_namespace n ON n.oid = relnamespace"
                    " WHERE nspname = %s AND relkind = 'r'",
                    (self._place.schema,),
                )
                .fetchone()
            )
            return int(row[0])

    def close(self) -> None:
        """Close all connections but those of snapshots still in use."""
        with self._lock:
            if self._closed:
                return
            with contextlib.suppress(GalleryError):
                self._erase_owed()
            self._closed = True
            self._readers.close()
            self._writer.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[Connection, changes.State]]:
        """One transaction: all of it or, on any exception, nothing."""
        with self._lock:
            if self._readonly:
                raise GalleryError(
                    f"{self.location} is open read-only", todo="open it for writing to change it"
                )
            with translated(self._place):
                connection = self._live()
                with connection.transaction():
                    yield connection, changes.lock(connection)

    def _live(self) -> Connection:
        """The writer's connection, made anew where the server went away meanwhile."""
        self._require_open()
        if not self._writer.closed:
            with contextlib.suppress(psycopg.OperationalError):
                self._writer.execute("SELECT 1")
                return self._writer
        self._writer.close()
        self._writer = connect(
            self._place, readonly=self._readonly, busy_seconds=self._busy_seconds
        )
        return self._writer

    def _require_open(self) -> None:
        if self._closed:
            raise GalleryError(f"{self.location} is closed", todo="open the gallery again")

    def _erased(self, faces: int, dropped: int) -> Change:
        """The answer to a change, after trying to erase what it removed."""
        # A thread that waited for its own snapshot would wait in vain.
        seconds = self._busy_seconds if threading.get_ident() not in self._readers.users else 0
        with self._lock:
            # The change is made; only erasing may have to be done later.
            self._owed = True
            try:
                with translated(self._place):
                    self._owed = not erase(self._live(), self._place.schema, seconds)
                    found = remains(self._live())
            except GalleryError:
                return Change(faces, dropped, erased=False)
            return Change(faces, dropped, not self._owed, found)

    def _erase_owed(self) -> None:
        """Try once more to erase what could not be erased before."""
        if self._owed and self._lock.acquire(blocking=False):
            try:
                with contextlib.suppress(GalleryError), translated(self._place):
                    self._owed = not erase(self._live(), self._place.schema, 0)
            finally:
                self._lock.release()


def already_there(place: ServerLocation) -> GalleryError:
    """The error for a schema that is in use."""
    return GalleryError(
        f"cannot create {place.shown}: it exists already",
        why=f"the database has a schema {place.schema}",
        todo="open it, or choose another schema with ?schema=NAME",
    )


def _header(connection: Connection, shown: str) -> GalleryHeader:
    try:
        row: Any = connection.execute("SELECT format, content FROM header").fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise GalleryError(
            f"there is no gallery {shown}",
            todo="check the database and the schema, or create one by enrolling photos",
        ) from error
    if row is None:
        raise damaged("header", ())
    if row[0] != schema.FORMAT:
        raise GalleryError(
            f"{shown} was written by a newer faceflow (format {row[0]}, known: {schema.FORMAT})",
            todo="upgrade faceflow",
        )
    return unseal_header(row[1])
