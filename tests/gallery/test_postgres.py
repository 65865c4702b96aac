"""What is PostgreSQL's own: addresses, passwords, a server that dies, what is said of copies."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from faceflow.errors import GalleryError, InputError
from faceflow.gallery import Enrolment, Gallery, GalleryLocation
from faceflow.gallery.stores.location import is_url, server_location
from faceflow.identifier import Identifier
from local_postgres import LocalPostgres

Make = Callable[..., list[Enrolment]]
Create = Callable[..., Gallery]


@pytest.mark.parametrize(
    ("url", "schema", "shown"),
    [
        ("postgresql://h/db", "faceflow", "postgresql://h/db"),
        ("postgres://u@h:1/db?schema=a_1", "a_1", "postgresql://u@h:1/db?schema=a_1"),
        ("PostgreSQL://u:s3cret@h/db", "faceflow", "postgresql://u@h/db"),
        ("postgresql://u:a%3As3cret%40b@[::1]:5/d", "faceflow", "postgresql://u@[::1]:5/d"),
        ("postgresql:///db?host=/run/pg", "faceflow", "postgresql:///db?host=/run/pg"),
        (
            "postgresql://h1:1,h2:2/db?sslmode=verify-full&password=s3cret&schema=b",
            "b",
            "postgresql://h1:1,h2:2/db?sslmode=verify-full&schema=b",
        ),
    ],
)
def test_addresses(url: str, schema: str, shown: str) -> None:
    place = server_location(url)
    assert (place.schema, place.shown) == (schema, shown)
    assert "schema=" not in place.conninfo
    assert "s3cret" not in f"{place!r} {place} {GalleryLocation(url)} {GalleryLocation(url)!r}"
    assert place.without_secrets("no s3cret here") == (
        "no *** here" if "password=s3cret" in url or ":s3cret@" in url else "no s3cret here"
    )
    assert server_location(place.url)[:2] == place[:2]
    assert is_url(url)
    assert not is_url("people.faceflow")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@h",
        "postgresql://u:s3cret@h/db?schema=A",
        "postgresql://u:s3cret@h/db?schema=pg_x",
        "postgresql://u:s3cret@h/db?schema=a;drop",
        "postgresql://u:s3cret@h/db?schema=" + "a" * 51,
        "postgresql://u:s3cret@[::1/db",
        "postgresql://u:s3cret@h/db?x",
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InputError) as caught:
        Gallery.open(url)
    assert "s3cret" not in str(caught.value)


def test_no_password_gets_out(
    postgres: LocalPostgres, create: Create, enrolments: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = postgres.new_url(over_network=True)
    said: list[str] = []

    def refused(use: Callable[[], object]) -> None:
        with pytest.raises(GalleryError) as caught:
            use()
        error: BaseException | None = caught.value
        while error is not None:
            said.append(f"{error} {error!r} {error.args}")
            error = error.__cause__

    refused(lambda: Gallery.open(url))
    with create(url) as gallery:
        gallery.enroll(enrolments(2))
        said += [repr(gallery), gallery.location, gallery.name, repr(gallery.stats())]
        said += [repr(vars(gallery._store)), repr(vars(gallery))]
        refused(lambda: create(url))
        refused(lambda: gallery.path)
    refused(lambda: gallery.people())
    wrong = url.replace(postgres.password, "wrong-s3cret")
    refused(lambda: Gallery.open(wrong))
    refused(lambda: Gallery.open(url.replace("/postgres?", "/nowhere?")))
    refused(lambda: Gallery.open(url.replace(f":{postgres.port}", ":1")))
    with Identifier(url, readonly=True) as known:
        said += [repr(known)]
        assert [person.name for person in known.people] == ["Person 0", "Person 1"]
    said += [record.getMessage() for record in caplog.records]
    assert len(said) > 10
    for text in said:
        assert postgres.password not in text
        assert "s3cret" not in text


def test_without_the_client_library_the_error_holds_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(GalleryError, match=r"pip install 'faceflow\[postgres\]'"):
        Gallery.open("postgresql://h/db")


def test_a_server_killed_while_galleries_are_open(
    postgres: LocalPostgres, create: Create, enrolments: Make
) -> None:
    """What was acknowledged is there, and the same objects go on when the server is back."""
    url = postgres.new_url()
    items = enrolments(40)
    with create(url) as gallery, Gallery.open(url, readonly=True) as reader:
        done: list[int] = []

        def write() -> None:
            for item in items:
                report = gallery.enroll([item])
                done.append(report.face_ids[0])

        caught: list[BaseException] = []

        def run() -> None:
            try:
                write()
            except GalleryError as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while len(done) < 5:
            pass
        postgres.kill()
        thread.join()
        assert "cannot be reached" in str(caught[0])
        with pytest.raises(GalleryError, match="cannot be reached"):
            reader.people()
        postgres.start()
        assert [record.face_id for record in reader.faces()][: len(done)] == done
        assert len(done) <= len(reader) <= len(done) + 1
        # Repeating it does nothing twice.
        gallery.enroll(items)
        assert len(reader) == 40
        assert reader.search(items[7].features, k=1).face_ids[0, 0] == 8
        gallery.check()


def test_what_others_may_still_hold_is_said(
    postgres: LocalPostgres, create: Create, enrolments: Make
) -> None:
    import psycopg

    with create(postgres.new_url()) as gallery:
        gallery.enroll(enrolments(6))
        assert gallery.remove_face(1).remains == (
            "the server's write-ahead log, until its segments are used again",
            "backups",
        )
        admin = psycopg.connect(postgres.url("x").rpartition("&schema=")[0], autocommit=True)
        with closing(admin):
            admin.execute("SELECT pg_create_physical_replication_slot('standby', true)")
            try:
                said = gallery.remove_face(2).remains
                assert "the log kept for 1 replication slot(s) that nobody reads" in said
            finally:
                admin.execute("SELECT pg_drop_replication_slot('standby')")


def test_an_old_transaction_anywhere_in_the_database_delays_erasing(
    postgres: LocalPostgres, create: Create, enrolments: Make
) -> None:
    """VACUUM FULL keeps what such a transaction might still want to see, and we notice."""
    import psycopg

    with create(postgres.new_url(), busy_seconds=0.2) as gallery:
        gallery.enroll(enrolments(6))
        other: Any = psycopg.connect(postgres.url("x").rpartition("&schema=")[0])
        with closing(other):
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            other.execute("SELECT count(*) FROM pg_class")
            assert not gallery.remove_face(1).erased
        assert gallery.remove_face(2).erased


def test_stricter_durability_is_respected_and_none_is_refused(
    postgres: LocalPostgres, create: Create
) -> None:
    url = postgres.new_url()
    create(url).close()
    for wanted, got in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        with Gallery.open(f"{url}&options=-csynchronous_commit%3D{wanted}") as gallery:
            writer: Any = gallery._store._writer  # type: ignore[attr-defined]
            assert writer.execute("SHOW synchronous_commit").fetchone() == (got,)


def test_nothing_a_stranger_made_is_found_before_ours(
    postgres: LocalPostgres, create: Create, enrolments: Make
) -> None:
    """Functions and tables in the schema everybody may use do not get between."""
    import psycopg

    admin = psycopg.connect(postgres.url("x").rpartition("&schema=")[0], autocommit=True)
    with closing(admin):
        admin.execute("CREATE TABLE public.state AS SELECT 1 AS id")
        admin.execute(
            "CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 666'"
        )
        try:
            with create(postgres.new_url()) as gallery:
                gallery.enroll(enrolments(3))
                assert len(gallery) == 3
                gallery.check()
        finally:
            admin.execute("DROP TABLE public.state")
            admin.execute("DROP FUNCTION public.count(bigint)")
