"""A file with a row for every photo of an enrolment: CSV, or Parquet (extra ``parquet``).

The columns are the fields of :class:`faceflow.gallery.outcomes.PhotoOutcome`. The file appears when
the enrolment has come to its end, and replaces one of that name; an enrolment that was interrupted
and is repeated reports all photos, those it had stored before as duplicates.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, BinaryIO

from faceflow.errors import InputError, MissingExtraError
from faceflow.gallery.outcomes import PhotoOutcome, Tell
from faceflow.system.files import atomic_write

_COLUMNS = tuple(field.name for field in fields(PhotoOutcome))
_NUMBERS = ("face_id", "faces")
_ROWS_AT_ONCE = 10_000


@contextlib.contextmanager
def outcome_file(path: Path) -> Iterator[Tell]:
    """Give what writes an outcome; the file is there whole after the block, or not at all.

    Raises:
        InputError: the name ends neither in .csv nor in .parquet, or its folder cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    writers = {".csv": _csv, ".parquet": _parquet}
    if path.suffix.lower() not in writers:
        raise InputError(
            f"the report cannot be called {path}", todo="let its name end in .csv or .parquet"
        )
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for the report")
    with atomic_write(path) as file, writers[path.suffix.lower()](file) as write:
        yield lambda outcome: write(tuple(map(_sound, astuple(outcome))))


Write = Callable[[tuple[Any, ...]], None]


@contextlib.contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    yield rows.writerow
    text.detach()


@contextlib.contextmanager
def _parquet(file: BinaryIO) -> Iterator[Write]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            "a report in Parquet needs the package pyarrow, which is not installed",
            todo="pip install 'faceflow[parquet]', or let its name end in .csv",
        ) from error
    kinds = [pa.int64() if name in _NUMBERS else pa.string() for name in _COLUMNS]
    schema = pa.schema(list(zip(_COLUMNS, kinds, strict=True)))
    waiting: list[tuple[Any, ...]] = []

    def flush() -> None:
        columns = [pa.array([row[at] for row in waiting], kind) for at, kind in enumerate(kinds)]
        writer.write_batch(pa.record_batch(columns, schema=schema))
        waiting.clear()

    def write(row: tuple[Any, ...]) -> None:
        waiting.append(row)
        if len(waiting) == _ROWS_AT_ONCE:
            flush()

    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write
        if waiting:
            flush()


def _sound(value: object) -> object:
    """Names of files need not be Unicode; what cannot be written is spelled out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
