"""The child process for hostile input: answers come back whole, limits hold, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceflow.errors import FaceflowError, InputError, UnsafeCheckpointError, WeightsError
from faceflow.system import child
from faceflow.system.child import Answer, Limits

# What the child does, in a module that it finds through this process's module path.
TASKS = """
import os, signal, sys, time
import numpy as np
from faceflow.system.child import Answer
from faceflow.errors import UnsafeCheckpointError

def echo(data, *, add=0):
    content = np.frombuffer(data.read(), np.uint8)
    return Answer({"size": content.size, "add": add}, {
        "second": content, "first": np.arange(6.0).reshape(2, 3).T, "none": np.array(7, np.int64),
        "nothing": np.zeros((0, 3), np.float32), "a/../b\\n": np.array([True, False]),
    })

def surroundings(data):
    return Answer({"path": sys.path, "here": os.getcwd(), "environment": dict(os.environ)})

def refuse(data): raise UnsafeCheckpointError("refused", why="it is bad", todo="leave it")
def fail(data): raise KeyError("x" * 9)
def crash(data): os.kill(os.getpid(), signal.SIGSEGV)
def leave(data): os._exit(3)
def sleep(data): time.sleep(600)
def grow(data): return Answer(len([bytes(2**20) for _ in range(10_000)]))
def fat(data): return Answer(None, {"a": np.zeros(2**21)})

def spin(data):
    key = ()
    for _ in range(60): key = (key, key)
    return hash(key)  # one call of C, which no signal handler of Python interrupts

def liar(data):
    open("answer.safetensors", "wb").write(b"\\xff" * 99)
    open("answer.json", "w").write('{"value": 1, "names": ["a"]}')
    os._exit(0)
"""


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A temporary folder of the test's own, which must be empty afterwards."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    yield place
    assert not list(place.iterdir())


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "child_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(folder)
    spec = util.spec_from_file_location("child_tasks", folder / "child_tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(function: Callable[..., Answer], data: Any = b"", **options: Any) -> Answer:
    return child.run(function, data, what="the file x", error=WeightsError, **options)


def test_value_and_arrays_come_back_in_order_and_unchanged(tasks: Any) -> None:
    answer = call(tasks.echo, b"abc", arguments={"add": 5})
    expected = tasks.echo(__import__("io").BytesIO(b"abc"), add=5)
    assert answer.value == expected.value == {"size": 3, "add": 5}
    assert list(answer.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert answer.arrays[name].dtype == array.dtype
        assert answer.arrays[name].shape == array.shape
        assert np.array_equal(answer.arrays[name], array)
        assert not answer.arrays[name].flags.writeable


def test_an_open_file_is_read_from_its_start(tasks: Any, tmp_path: Path) -> None:
    place = tmp_path / "input"
    place.write_bytes(bytes(range(256)) * 100)
    with place.open("rb") as file:
        file.read(7)
        place.unlink()  # the open file counts, not what its path leads to by now
        assert np.array_equal(call(tasks.echo, file).arrays["second"], list(range(256)) * 100)


def test_the_child_takes_nothing_from_the_working_folder(
    tasks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Path
) -> None:
    hostile = tmp_path / "photos"
    hostile.mkdir()
    for name in ("json", "numpy", "tempfile", "sitecustomize", "usercustomize", "faceflow"):
        (hostile / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(tmp_path)]))
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "/usr/bin"]))
    monkeypatch.setattr(sys, "path", ["", ".", str(hostile), *sys.path])
    found = call(tasks.surroundings).value
    assert not (tmp_path / "ran").exists()
    assert Path(found["here"]).parent == room
    assert not {"", ".", str(hostile)} & set(found["path"])
    assert found["environment"]["PATH"] == "/usr/bin"
    assert found["environment"]["PYTHONPATH"] == str(tmp_path)


def test_errors_of_ours_come_back_as_they_were(tasks: Any) -> None:
    with pytest.raises(UnsafeCheckpointError) as raised:
        call(tasks.refuse)
    assert (raised.value.what, raised.value.why, raised.value.todo) == (
        "refused",
        "it is bad",
        "leave it",
    )


@pytest.mark.parametrize(
    ("task", "limits", "word"),
    [
        ("fail", Limits(), "KeyError: 'xxxxxxxxx'"),
        ("crash", Limits(), "SIGSEGV"),
        ("leave", Limits(), "status 3"),
        ("liar", Limits(), "no answer that makes sense"),
        ("sleep", Limits(seconds=1.5), "longer than 1.5 seconds"),
        ("spin", Limits(seconds=60, cpu_seconds=1), "more than 1 seconds of processor time"),
        ("grow", Limits(memory=200 * 2**20), "more than 200 MB of memory"),
        ("fat", Limits(answer=2**20), "more than 1 MB for its arrays"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="signals and the kernel's limits")
def test_what_goes_wrong_is_one_error(tasks: Any, task: str, limits: Limits, word: str) -> None:
    begin = time.monotonic()
    with pytest.raises(WeightsError) as raised:
        call(getattr(tasks, task), limits=limits)
    assert word in raised.value.why
    assert "the file x" in raised.value.what
    assert time.monotonic() - begin < 30


def test_a_python_that_does_not_start_is_an_error(
    tasks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(InputError, match="does not start"):
        child.run(tasks.echo, b"", what="x", error=InputError)


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
sys.path[:0] = [sys.argv[1]]
import child_tasks
from faceflow.system import child
from faceflow.errors import FaceflowError
try:
    child.run(child_tasks.sleep, b"", what="x", limits=child.Limits(seconds=50))
except KeyboardInterrupt:
    sys.exit(42)
"""


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the child in /proc")
def test_an_interrupt_of_the_parent_ends_the_child(tasks: Any, tmp_path: Path, room: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "modules")],
        env=os.environ | {"TMPDIR": str(room)},
    )
    inside = until(lambda: children(parent.pid))
    until(lambda: list(room.glob("*/request.json")))
    parent.send_signal(signal.SIGINT)  # to the parent alone, as a service manager would
    assert parent.wait(20) == 42
    assert not any(Path(f"/proc/{pid}").exists() for pid in inside)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def until(found: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def test_the_default_error_is_the_base() -> None:
    with pytest.raises(FaceflowError):
        child.run(test_the_default_error_is_the_base, b"", what="x")  # type: ignore[arg-type]
