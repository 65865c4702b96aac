"""The tables of a gallery in PostgreSQL.

Payloads, embeddings, records and photo hashes are partitioned by hash, because erasing somebody
means to write a partition anew (:mod:`.erasing`). The search path of every connection is
``pg_catalog``, then the gallery's schema, so that nothing a stranger creates comes before either.
"""

from __future__ import annotations

from typing import LiteralString

FORMAT = 1
PARTITIONS = 16

_PLAIN: tuple[LiteralString, ...] = (
    "CREATE TABLE header(id int PRIMARY KEY CHECK(id = 1), format int NOT NULL,"
    " content bytea NOT NULL)",
    "CREATE TABLE state(id int PRIMARY KEY CHECK(id = 1), last_face_id bigint NOT NULL,"
    " last_person_id bigint NOT NULL, removals bigint NOT NULL, token bytea NOT NULL)",
    "CREATE TABLE setting(name bytea PRIMARY KEY, content bytea NOT NULL)",
    'CREATE TABLE person(person_id bigint PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE,'
    ' fold text COLLATE "C" NOT NULL, seal bigint NOT NULL)',
    "CREATE INDEX person_by_name ON person(fold, name)",
    "CREATE TABLE removal(number bigint PRIMARY KEY, face_id bigint NOT NULL)",
    # Tables that may hold remains of what was removed, and which removal marked them.
    "CREATE TABLE dirty(name text PRIMARY KEY, mark bytea NOT NULL)",
)

_PARTITIONED: dict[LiteralString, tuple[LiteralString, ...]] = {
    "face": (
        "CREATE TABLE face(face_id bigint PRIMARY KEY, person_id bigint NOT NULL REFERENCES person,"
        " record bytea NOT NULL) PARTITION BY HASH(face_id)",
        "CREATE INDEX face_of_person ON face(person_id, face_id)",
    ),
    "embedding": (
        "CREATE TABLE embedding(face_id bigint PRIMARY KEY, content bytea NOT NULL)"
        " PARTITION BY HASH(face_id)",
    ),
    "payload": (
        "CREATE TABLE payload(face_id bigint PRIMARY KEY, patches bytea NOT NULL, thumbnail bytea)"
        " PARTITION BY HASH(face_id)",
    ),
    "photo": (
        "CREATE TABLE photo(content_hash bytea NOT NULL, person_id bigint NOT NULL,"
        " face_id bigint NOT NULL, PRIMARY KEY(content_hash, person_id))"
        " PARTITION BY HASH(content_hash)",
    ),
}

# ANALYZE would copy values of these into the statistics, where nobody erases them; and what cannot
# be compressed is not worth trying.
_SILENT: dict[LiteralString, tuple[LiteralString, ...]] = {
    "person": ("name", "fold", "seal"),
    "face": ("record",),
    "embedding": ("content",),
    "payload": ("patches", "thumbnail"),
    "photo": ("content_hash",),
}
_INCOMPRESSIBLE: dict[LiteralString, tuple[LiteralString, ...]] = {
    "embedding": ("content",),
    "payload": ("patches", "thumbnail"),
}


def statements() -> list[str]:
    """What makes all tables, in a schema that is first in which tables are made."""
    made: list[str] = [*_PLAIN]
    for table, creating in _PARTITIONED.items():
        made += creating
        made += [
            f"CREATE TABLE {table}_{n:02} PARTITION OF {table}"
            f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {n})"
            for n in range(PARTITIONS)
        ]
    for table, columns in _SILENT.items():
        for place in _places(table):
            made += [f"ALTER TABLE {place} ALTER {column} SET STATISTICS 0" for column in columns]
    for table, columns in _INCOMPRESSIBLE.items():
        for place in _places(table):
            made += [
                f"ALTER TABLE {place} ALTER {column} SET STORAGE EXTERNAL" for column in columns
            ]
    return made


def _places(table: LiteralString) -> list[str]:
    """A table and its partitions."""
    parts = [f"{table}_{n:02}" for n in range(PARTITIONS)] if table in _PARTITIONED else []
    return [table, *parts]
