"""What was added is there again, whatever befell the process that added it."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import FaceflowError
from faceflow.training.array_cache import ArrayCache


def array(number: int) -> np.ndarray:
    return np.full((2, 3), number, np.float16)


def cache(folder: Path, identity: str = "a") -> ArrayCache:
    return ArrayCache(folder, np.float16, (2, 3), identity=identity)


def test_round_trip(tmp_path: Path) -> None:
    one = cache(tmp_path / "new")
    assert one.arrays().shape == (0, 2, 3)
    one.add([("x", array(1)), ("none", None), ("y", array(2))])
    one.add([("x", array(9)), ("z", array(3))])
    again = cache(tmp_path / "new")
    rows, arrays = again.rows(), again.arrays()
    assert rows.pop("none") is None
    assert {key: float(arrays[row][0, 0]) for key, row in rows.items()} == {"x": 1, "y": 2, "z": 3}


def test_what_was_not_committed_is_written_over(tmp_path: Path) -> None:
    one = cache(tmp_path)
    one.add([("x", array(1))])
    with (one.folder / "rows.bin").open("ab") as file:  # killed after writing, before the index
        file.write(array(7).tobytes()[:5])
    one.add([("y", array(2))])
    assert one.arrays()[:, 0, 0].tolist() == [1, 2]


def test_writers_take_turns(tmp_path: Path) -> None:
    def add(writer: int) -> None:
        mine = cache(tmp_path)
        for number in range(5):
            mine.add([(f"{writer} {number}", array(10 * writer + number))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    one = cache(tmp_path)
    arrays = one.arrays()
    assert {k: float(arrays[r][1, 2]) for k, r in one.rows().items()} == {
        f"{w} {n}": 10 * w + n for w in range(4) for n in range(5)
    }


def test_kinds_and_states_of_the_code_do_not_mix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache(tmp_path).add([("x", array(1))])
    assert cache(tmp_path, "b").rows() == {}
    assert ArrayCache(tmp_path, np.float16, (3, 2), identity="a").rows() == {}
    assert cache(tmp_path).rows() == {"x": 0}
    monkeypatch.setattr("faceflow.system.caches.source_digest", lambda module: f"new {module}")
    assert cache(tmp_path).rows() == {}


@pytest.mark.parametrize(
    ("name", "content"), [("rows.bin", b"1"), ("index.sqlite", b"not a database" * 100)]
)
def test_damage_is_reported_and_made_good(
    tmp_path: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    one = cache(tmp_path)
    one.add([("x", array(1))])
    (one.folder / name).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = cache(tmp_path)
    assert "damaged and made again" in caplog.text
    assert again.rows() == {}
    again.add([("x", array(2))])
    assert again.arrays()[:, 0, 0].tolist() == [2]


def test_what_cannot_be_made_good_is_told(tmp_path: Path) -> None:
    one = cache(tmp_path / "a")
    one.add([("x", array(1))])
    (one.folder / "rows.bin").write_bytes(b"1")  # while it is in use
    with pytest.raises(FaceflowError, match=r"rows\.bin is missing or too short"):
        one.arrays()
    (tmp_path / "c").write_text("a file")
    with pytest.raises(FaceflowError, match="cannot be used"):
        cache(tmp_path / "c")
