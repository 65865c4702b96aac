"""One session class for all models: threads, copies by pickle, copies by fork."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from faceflow.errors import InputError, WeightsError
from faceflow.weights import ForkSafeSession, calling_thread_alone
from faceflow.weights import session as session_module
from faceflow.weights.graphs import serialise


def product() -> bytes:
    """y = x @ w, large enough for ONNX Runtime to use its threads."""
    return serialise(
        "product",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        inputs={"x": ["N", 256]},
        outputs={"y": ["N", 256]},
        tensors={"w": np.eye(256, dtype=np.float32) * 2},
    )


@pytest.fixture
def session() -> ForkSafeSession:
    return ForkSafeSession(partial(bytes, product()), threads=2, name="toy")


def test_it_runs_and_says_what_it_takes(session: ForkSafeSession) -> None:
    x = np.random.default_rng(0).random((3, 256), dtype=np.float32)
    (y,) = session.run(["y"], {"x": x})
    np.testing.assert_array_equal(y, 2 * x)
    (taken,) = session.get_inputs()
    assert (taken.name, taken.shape) == ("x", ["N", 256])


def test_threads_and_a_pickled_copy_agree(session: ForkSafeSession) -> None:
    x = np.ones((64, 256), np.float32)
    copy = pickle.loads(pickle.dumps(session))
    with ThreadPoolExecutor(4) as pool:
        for (y,) in pool.map(lambda _: session.run(["y"], {"x": x}), range(8)):
            np.testing.assert_array_equal(y, copy.run(["y"], {"x": x})[0])


def test_it_refuses_what_a_session_refuses() -> None:
    with pytest.raises(WeightsError, match="toy"):
        ForkSafeSession(partial(bytes, b"no graph"), name="toy").get_inputs()
    with pytest.raises(InputError, match="threads is 0"):
        ForkSafeSession(partial(bytes, product()), threads=0)


class Reading:
    """Gives a graph, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> bytes:
        self.calls += 1
        return product()


def test_many_threads_that_want_a_session_open_one(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int | None] = []
    original = session_module.open_session

    def slow(*args: Any, threads: int | None, **kwargs: Any) -> Any:
        opened.append(threads)
        time.sleep(0.05)
        return original(*args, threads=threads, **kwargs)

    monkeypatch.setattr(session_module, "open_session", slow)
    read = Reading()
    session = ForkSafeSession(read, threads=2, name="toy")
    x = np.ones((1, 256), np.float32)

    def alone(_: int) -> Any:
        with calling_thread_alone():
            return session.run(["y"], {"x": x})

    assert opened == [], "a session that nobody uses is not opened"
    with ThreadPoolExecutor(4) as pool:
        narrow = list(pool.map(alone, range(8)))
    assert opened == [1]
    assert read.calls == 1
    wide = session.run(["y"], {"x": x})
    assert opened == [1, 2], "outside, a call has all its threads again"
    for (y,) in narrow:
        np.testing.assert_array_equal(y, wide[0])


FORK = """
import gc, os, pickle, sys, warnings
from pathlib import Path
import numpy as np
session = pickle.loads(Path(sys.argv[1]).read_bytes())
x = np.ones((512, 256), np.float32)
(before,) = session.run(["y"], {"x": x})
warnings.simplefilter("ignore")  # newer Pythons warn of forking with threads: that is the test
session._opened[1] = session._opened[2]  # as after calls on one thread
import faceflow.weights.fork_safe as module
module._opening.acquire()  # as if another thread opened a session just now
child = os.fork()
if child == 0:
    (after,) = session.run(["y"], {"x": x})
    gc.collect()  # freeing the session left by the fork would wait for its threads
    grandchild = os.fork()
    if grandchild == 0:
        (last,) = session.run(["y"], {"x": x})
        os._exit(0 if np.array_equal(last, before) else 1)
    _, status = os.waitpid(grandchild, 0)
    os._exit(os.waitstatus_to_exitcode(status) or int(not np.array_equal(after, before)))
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_forks_of_forks_may_use_it(session: ForkSafeSession, tmp_path: Path) -> None:
    path = tmp_path / "session.pickle"
    path.write_bytes(pickle.dumps(session))
    # Its own group, so that a child that hangs is ended with it.
    process = subprocess.Popen([sys.executable, "-c", FORK, str(path)], start_new_session=True)
    try:
        assert process.wait(timeout=30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
