"""What was added is there again, whatever befell the process that added it."""

from __future__ import annotations

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
    with (tmp_path / "rows.bin").open("ab") as file:  # killed after writing, before the index
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


def test_another_kind_is_refused(tmp_path: Path) -> None:
    cache(tmp_path)
    with pytest.raises(FaceflowError, match="holds other data"):
        cache(tmp_path, "b")


def test_damage_is_told(tmp_path: Path) -> None:
    cache(tmp_path / "a").add([("x", array(1))])
    (tmp_path / "a" / "rows.bin").write_bytes(b"1")
    with pytest.raises(FaceflowError, match=r"rows\.bin is missing or too short"):
        cache(tmp_path / "a").arrays()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(FaceflowError, match="cannot be used"):
        cache(tmp_path / "b")
    (tmp_path / "c").write_text("a file")
    with pytest.raises(FaceflowError, match="cannot be used"):
        cache(tmp_path / "c")
