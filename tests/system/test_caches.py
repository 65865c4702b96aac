"""Files appear whole or not at all; kept results are found by all they depend on."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from faceflow.errors import InputError
from faceflow.system import caches
from faceflow.system.caches import KeyedFolder, cache_dir, new_key, source_digest
from faceflow.system.files import atomic_write


def test_cache_dir_follows_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "x"))
    assert cache_dir() == tmp_path / "x"
    monkeypatch.setenv("FACEFLOW_CACHE", "~/y")
    assert cache_dir() == Path.home() / "y"
    monkeypatch.delenv("FACEFLOW_CACHE")
    assert cache_dir().name.lower() in ("faceflow", "cache")
    assert cache_dir().is_absolute()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG is for Linux")
def test_cache_dir_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FACEFLOW_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "faceflow"


def test_new_file_and_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "ä b.bin"
    for content in (b"one", b"two"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["ä b.bin"]


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_others_may_read_only_what_is_shared(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        for shared, mode in ((False, 0o600), (True, 0o640)):
            with atomic_write(tmp_path / "a", shared=shared) as file:
                file.write(b"x")
            assert (tmp_path / "a").stat().st_mode & 0o777 == mode
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    """As the superuser that worked, and /dev/null was a file from then on."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"), atomic_write(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_failure_inside_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the new")
            file.flush()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("faceflow.system.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="names are counted in bytes")
@pytest.mark.parametrize("name", ["x" * 255, "ä" * 127, "人" * 85])
def test_the_longest_name_that_the_system_takes(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as file:
        file.write(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match="too long"), atomic_write(tmp_path / f"{name}xx") as file:
        file.write(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def module(folder: Path, name: str = "own", *, package: bool = False) -> ModuleType:
    """As importing it would give; only where it lies counts."""
    made = ModuleType(name)
    made.__file__ = str(folder / ("__init__.py" if package else f"{name}.py"))
    return made


def test_a_key_holds_the_source_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("__init__.py", "own.py", "inner/part.py", "kernel.so", "page.html"):
        (tmp_path / name).write_text("one")
    seen = set()

    def keys() -> tuple[str, str]:
        one, whole = module(tmp_path), module(tmp_path, "all", package=True)
        return new_key("a 1", one).hexdigest(), new_key("a 1", whole).hexdigest()

    for changed in ("nothing", "page.html", "own.py", "inner/part.py", "kernel.so"):
        if changed != "nothing":
            (tmp_path / changed).write_text("two")
        seen.add(keys())
    assert len(seen) == 4, "all but the page change the package's"
    assert len({one for one, _ in seen}) == 2, "own.py alone changes its own"
    (tmp_path / "inner" / "part.py").rename(tmp_path / "inner" / "other.py")
    assert keys() not in seen


def test_a_key_holds_the_kind_and_by_default_all_of_faceflow() -> None:
    assert new_key("a 1").hexdigest() == new_key("a 1").hexdigest()
    assert new_key("a 1").hexdigest() != new_key("a 2").hexdigest()
    assert new_key("a 1").hexdigest() != new_key("a 1", caches).hexdigest()
    assert source_digest(caches) != source_digest(json)


def keyed(folder: Path) -> KeyedFolder[Any]:
    return KeyedFolder(
        folder, ".json", json.load, lambda file, value: file.write(json.dumps(value).encode())
    )


def test_a_result_is_kept_and_damage_counts_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = keyed(tmp_path / "new")
    assert kept.load("k") is None
    kept.save("k", [1])
    assert keyed(tmp_path / "new").load("k") == [1]
    assert not caplog.records
    (tmp_path / "new" / "k.json").write_text("[1")
    with caplog.at_level(logging.WARNING):
        assert kept.load("k") is None
    assert "k.json is damaged" in caplog.text
    kept.save("k", [2])
    assert kept.load("k") == [2]


def test_writers_of_one_key_do_no_harm(tmp_path: Path) -> None:
    value = list(range(20_000))

    def work(_: int) -> list[int] | None:
        keyed(tmp_path).save("k", value)
        return keyed(tmp_path).load("k")  # type: ignore[no-any-return]

    with ThreadPoolExecutor(4) as pool:
        assert all(found == value for found in pool.map(work, range(20)))
    assert [path.name for path in tmp_path.iterdir()] == ["k.json"]
