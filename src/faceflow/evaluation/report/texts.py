"""Tables as text: Markdown for people, CSV for programs, cells for the terminal."""

from __future__ import annotations

import csv
import io

from faceflow.evaluation.experiment import Number, Report, Result, Row, Table

_WHOLE = {"seconds"}


def show(metric: str, number: Number | None, *, interval: bool = True) -> str:
    """A number as tables show it: shares in percent, seconds as they are."""
    if number is None:
        return ""
    if metric in _WHOLE:
        return f"{number.value:.3g}" if number.value < 10 else f"{number.value:.1f}"
    text = f"{100 * number.value:.2f}"
    if interval and number.low is not None and number.high is not None:
        text += f" [{100 * number.low:.1f}, {100 * number.high:.1f}]"
    return text


def headings(table: Table) -> tuple[str, ...]:
    """Column heads: labels, each metric (the paper's beside ours where there is one), notes."""
    return (*table.columns, *(head for head, *_ in _columns(table)), "notes")


def cells(table: Table, row: Row, *, interval: bool = True) -> tuple[str, ...]:
    """One line under :func:`headings`."""
    values = [
        show(metric, Number(row.paper[metric]) if metric in row.paper else None)
        if paper
        else show(metric, row.ours.get(metric), interval=interval)
        for _, metric, paper in _columns(table)
    ]
    notes = "; ".join(part for part in (row.missing, row.note) if part)
    return (*row.labels, *values, notes)


def _columns(table: Table) -> list[tuple[str, str, bool]]:
    """(head, metric, whether it is the paper's) of each number."""
    columns = []
    for metric in table.metrics:
        columns.append((metric, metric, False))
        if any(metric in row.paper for row in table.rows):
            columns.append((f"paper's {metric}", metric, True))
    return columns


def to_markdown(report: Report) -> str:
    """The report as a Markdown page."""
    lines = [f"# {_flat(report.title)}", "", f"    {_flat(report.command)}", ""]
    lines += [*(f"* {line}" for line in about(report)), ""]
    for table in report.tables:
        heads = headings(table)
        lines += [f"## {table.title}", "", _line(heads), _line(("---",) * len(heads))]
        lines += [_line(cells(table, row)) for row in table.rows]
        lines += ["", *(f"* {note}" for note in table.notes), ""]
    return "\n".join(lines)


def about(report: Report) -> list[str]:
    """How the numbers came to be: date, time, versions, networks, data."""
    made: list[Result] = [*report.results, *report.verifications]
    digests = {result.experiment.network: result.network_digest for result in made}
    return [
        f"made {report.date} in {report.seconds:.1f} s",
        "versions: " + ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        *(f"network {name}: digest {digest}" for name, digest in digests.items()),
        *(f"data {name}: {found}" for name, found in report.data.items()),
    ]


def to_csv(report: Report) -> str:
    """All numbers of all tables, one per line, as shares (seconds as they are)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        ["table", "labels", "metric", "ours", "low", "high", "paper", "missing", "note"]
    )
    for table in report.tables:
        for row in table.rows:
            labels = " | ".join(row.labels)
            for metric in dict.fromkeys((*table.metrics, *row.ours, *row.paper)):
                ours = row.ours.get(metric)
                if ours is None and metric not in row.paper and not row.missing:
                    continue
                numbers = (None,) * 3 if ours is None else (ours.value, ours.low, ours.high)
                writer.writerow(
                    [
                        table.name,
                        labels,
                        metric,
                        *("" if value is None else value for value in numbers),
                        row.paper.get(metric, ""),
                        row.missing,
                        row.note,
                    ]
                )
    return buffer.getvalue()


def _line(parts: tuple[str, ...]) -> str:
    return "| " + " | ".join(_flat(part).replace("|", "\\|") for part in parts) + " |"


def _flat(text: str) -> str:
    return " ".join(text.split())
