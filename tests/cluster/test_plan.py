"""The calculator: by hand, by a second way, and against the page that shows its arithmetic."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.cluster.plan import (
    GB,
    MEASURED,
    Costs,
    Demand,
    Machine,
    parse_count,
    plan,
)
from faceflow.errors import InputError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "capacity.md"
ROUND = Costs(
    scan_ms=20,
    shard_ms=2,
    candidate_ms=0.1,
    front_ms=4,
    front_shard_ms=1,
    embedding_bytes=1000,
    name_bytes=200,
    process_bytes=0,
)


def test_a_small_gallery_by_hand() -> None:
    """1 M faces, 1,100 bytes each; a query 20 + (2 + 10) + (4 + 1) = 37 ms."""
    found = plan(Demand(1e6, 100, share=0.5), Machine(memory=10 * GB, cores=8), ROUND)
    assert (found.shards, found.machines, found.because) == (1, 2, "replicas")
    assert found.copy_bytes == 1.1e9
    assert found.cpu_ms == pytest.approx(37)
    assert found.cores == pytest.approx(3.7)
    assert found.disk_bytes == pytest.approx(1e6 * MEASURED.disk_bytes)
    assert found.database_bytes == pytest.approx(100 * 100 * MEASURED.patch_bytes)


def test_memory_decides_where_searches_are_few() -> None:
    """100 M faces are 110 GB, 5 GB of each machine are used: 22 machines for one copy."""
    found = plan(Demand(1e8, 0.01, share=0.5), Machine(memory=10 * GB, cores=8), ROUND)
    assert (found.shards, found.machines, found.because) == (22, 44, "memory")


def test_cpu_decides_where_searches_are_many() -> None:
    found = plan(Demand(1e7, 1000), Machine(memory=1000 * GB, cores=8), ROUND)
    assert found.because == "CPU"
    assert found.machines * 8 * 0.6 >= found.cores
    # One shard less would not do.
    fewer = found.shards - 1
    asked = fewer * (1 - (1 - 1 / fewer) ** 100)
    spent = 1000 * (200 + asked * 2 + 10 + 4 + fewer) / 1000
    assert fewer * 2 * 8 * 0.6 < spent


def test_how_many_shards_have_candidates_by_drawing() -> None:
    found = plan(Demand(1e8, 0.01, share=0.5), Machine(memory=10 * GB, cores=8), ROUND)
    drawn = np.random.default_rng(0).integers(0, found.shards, (4000, 100))
    assert found.asked_in_stage2 == pytest.approx(
        np.mean([len(set(row)) for row in drawn.tolist()]), rel=0.01
    )


@given(
    faces=st.floats(1e3, 1e9),
    qps=st.floats(0.1, 500),
    replicas=st.integers(1, 4),
    more=st.floats(1, 10),
)
def test_more_is_never_less(faces: float, qps: float, replicas: int, more: float) -> None:
    one = plan(Demand(faces, qps, replicas))
    for larger in (
        Demand(faces * more, qps, replicas),
        Demand(faces, qps, replicas, hold="patches"),
    ):
        assert plan(larger).machines >= one.machines
    machine = Machine()
    assert one.memory_per_machine <= machine.memory * 0.6
    assert one.cores <= one.machines * machine.cores * 0.6
    assert one.machines == one.shards * replicas


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(InputError, match="too many"):
        plan(Demand(1e9, 1e6), Machine(memory=64 * GB, cores=1))
    with pytest.raises(InputError, match="no room"):
        plan(Demand(1e6, 1), Machine(memory=0.1 * GB))
    for bad in (Demand, lambda *_: Demand(1, 1, share=2)):
        with pytest.raises(InputError):
            bad(0, 1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100M", 1e8),
        ("1.5B", 1.5e9),
        ("250000", 250_000),
        ("10k", 1e4),
        ("1,000", 1000),
        ("2G", 2e9),
    ],
)
def test_numbers_as_people_write_them(text: str, number: float) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["", "many", "-3", "1e6", "1MM", "M"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(InputError, match="is no number"):
        parse_count(text)


def test_the_page_shows_what_the_calculator_says() -> None:
    rows = re.findall(r"^\| (1 M|10 M|100 M|1 B) \|(.+)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [row[0] for row in rows] == ["1 M", "10 M", "100 M", "1 B"]
    for faces, cells in rows:
        found = plan(Demand(parse_count(faces.replace(" ", "")), 100))
        shown = [cell.strip() for cell in cells.split("|")]
        assert shown == [
            f"{found.machines:,} ({found.because})",
            f"{found.shards:,}",
            f"{found.memory_per_machine / GB:.1f} GB",
            f"{found.disk_bytes / GB:,.0f} GB",
            f"{found.cpu_ms:,.0f} ms",
            f"{found.cores:,.0f}",
            f"{found.latency_ms:,.0f} ms",
            f"{found.network / 1e6:,.0f} MB/s",
            f"{found.loading_seconds:,.0f} s",
        ], faces


def test_the_page_names_every_cost() -> None:
    text = PAGE.read_text("utf-8")
    for name in Costs.__slots__:
        value = getattr(MEASURED, name)
        row = re.search(rf"^\| `{name}` \| ([^|]+) \|", text, re.MULTILINE)
        assert row is not None, name
        assert float(row[1].replace(",", "")) == value, name
