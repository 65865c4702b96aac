"""How answers look: tables for people, JSON for programs, notices and progress on stderr.

stdout carries the answer and nothing else. A table is drawn by rich on a terminal; into a pipe
or file it goes as plain aligned columns, never cut to a width. Rich reads NO_COLOR itself.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from faceflow.system.terminal import showable

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Protocol):
    """Tells how far long work has come."""

    def __call__(self, done: int, total: int | None, title: str = "") -> None:
        """``done`` of ``total`` (None: not known) steps; ``title`` when another part begins."""


def _silent(done: int, total: int | None, title: str = "") -> None:
    return


def clean(text: object) -> str:
    """Text that is safe to show: control characters and broken encodings are spelled out.

    Names of people and files come from anywhere; shown raw, an escape sequence in one could
    rewrite the user's screen.
    """
    return showable(str(text))


def say(text: object, *, label: str = "", style: str = "") -> None:
    """A notice on stderr, one line, with a coloured label on a terminal."""
    line = clean(text)
    # A full or vanished stderr must not change how the command ends.
    with suppress(OSError):
        _say(line, label, style)


def _say(line: str, label: str, style: str) -> None:
    if sys.stderr.isatty():
        from rich.text import Text

        words = [(f"{label}: ", style), line] if label else [line]
        console(sys.stderr).print(Text.assemble(*words), soft_wrap=True)
    else:
        sys.stderr.write(f"{label}: {line}\n" if label else f"{line}\n")
        sys.stderr.flush()


def console(stream: TextIO) -> Console:
    """A rich console on a stream as it is now (tests and pipes replace the streams)."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def print_line(text: object = "") -> None:
    """One line of the answer."""
    sys.stdout.write(clean(text) + "\n")


def print_json(value: Any, *, line: bool = False) -> None:
    """A JSON document; with ``line`` on one line, flushed, so that streams can be followed."""
    text = json.dumps(
        _finite(value), ensure_ascii=False, indent=None if line else 2, allow_nan=False
    )
    sys.stdout.write(_UNPRINTABLE.sub(_json_escape, text) + "\n")
    if line:
        sys.stdout.flush()


# What json leaves as it is and a terminal obeys: DEL, C1 controls, marks that turn text around.
# Half a surrogate pair is there as it is in names that are not Unicode, and becomes its escape.
_UNPRINTABLE = re.compile("[^\n -~]")


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    return character if character.isprintable() else json.dumps(character)[1:-1]


def _finite(value: Any) -> Any:
    """JSON has no NaN or infinity: a number that is none becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


Cell = str | tuple[str, str]
"""A cell's text, or (text, rich style)."""


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[str] = ()
) -> None:
    """A table with the columns named in ``right`` set flush right."""
    cells = [[(c, "") if isinstance(c, str) else c for c in row] for row in rows]
    cells = [[(clean(text), style) for text, style in row] for row in cells]
    if sys.stdout.isatty():
        _rich_table(columns, cells, right)
    else:
        _plain_table(columns, cells, right)


def _rich_table(
    columns: Sequence[str], rows: list[list[tuple[str, str]]], right: Sequence[str]
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(text, style=style) for text, style in row))
    console(sys.stdout).print(table)


def _plain_table(
    columns: Sequence[str], rows: list[list[tuple[str, str]]], right: Sequence[str]
) -> None:
    from rich.cells import cell_len

    lines = [list(columns), *([text for text, _ in row] for row in rows)]
    widths = [max(cell_len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = []
        for name, text, width in zip(columns, line, widths, strict=True):
            space = " " * (width - cell_len(text))
            padded.append(space + text if name in right else text + space)
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def number(value: float | None, digits: int = 3) -> str:
    """A score for a table; "-" where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def size(count: int | float) -> str:
    """Bytes in the unit people use for them."""
    value = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def plural(count: int, one: str, many: str = "") -> str:
    """ "1 face", "2 faces"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A progress bar on stderr, on a terminal; elsewhere nothing is shown."""
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(sys.stderr),
        transient=True,
    )
    with bars:
        task = bars.add_task(title, total=None)

        def show(done: int, total: int | None, title: str = title) -> None:
            bars.update(task, completed=done, total=total, description=title or None)

        yield show
