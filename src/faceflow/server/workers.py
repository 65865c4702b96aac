"""Several processes behind one address: started, replaced when they die, stopped together.

The first process listens, and lends its socket to workers, which answer. Each worker reads what it
is to do from its standard input and goes on until that ends: so workers stop when they are told,
and also when the first process is killed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from faceflow.errors import FaceflowError
from faceflow.system.programs import environment, module_path, neutral_folder

log = logging.getLogger("faceflow.server")

# -I: nothing is taken from the working folder. Its module path is what this process has.
_BOOT = """
import sys
sys.path.extend(entry for entry in sys.argv[2].split(sys.argv[1]) if entry not in sys.path)
from faceflow.server import serving
serving.work()
"""
_HEAD = struct.Struct("<Q")
_LOOK = 0.1
_SHORT = 10.0
"""A worker that lived for less seconds did not work."""
_ATTEMPTS = 5
"""Workers in a row that did not work, after which no more are started."""


class Workers:
    """Some processes that do one thing.

    Args:
        count: how many.
        listener: the socket they answer at.
        job: what each is given; anything that can be pickled.
        seconds: given to what runs when all are stopped.
    """

    def __init__(self, count: int, listener: socket.socket, job: Any, *, seconds: float) -> None:
        self._count, self._listener, self._seconds = count, listener, seconds
        self._job = pickle.dumps(job)
        self._running: list[_Worker] = []
        self._asked = 0
        self._failed = 0
        self.replaced = 0
        """Workers that took another one's place."""

    def run(self) -> None:
        """Keep them running until SIGTERM or SIGINT; then stop them all and return.

        A second signal does not wait for what runs.

        Raises:
            FaceflowError: they end as soon as they are started.
        """
        with _signals(self._stop):
            try:
                self._running = [self._start() for _ in range(self._count)]
                while not self._asked:
                    time.sleep(_LOOK)
                    self._replace()
            finally:
                self._end()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1

    def _start(self) -> _Worker:
        return _Worker(self._listener, self._job)

    def _replace(self) -> None:
        for place, worker in enumerate(self._running):
            code = worker.process.poll()
            if code is None:
                if worker.age > _SHORT:
                    self._failed = 0
                continue
            worker.close()
            self._failed = self._failed + 1 if worker.age < _SHORT else 0
            if self._failed >= _ATTEMPTS:
                raise FaceflowError(
                    "The service's workers end as soon as they are started",
                    why=f"the last one with {_said(code)}",
                    todo="see what they said above, or start without --workers",
                )
            log.error("a worker ended with %s; another takes its place", _said(code))
            self.replaced += 1
            self._running[place] = self._start()

    def _end(self) -> None:
        for worker in self._running:
            worker.close()
        until = time.monotonic() + self._seconds
        told = self._asked
        while any(worker.process.poll() is None for worker in self._running):
            if self._asked > max(told, 1):  # asked again: nobody waits for what runs
                told = self._asked
                for worker in self._running:
                    worker.process.terminate()
            if time.monotonic() > until:
                for worker in self._running:
                    worker.process.kill()
            time.sleep(_LOOK / 2)


class _Worker:
    """One process, seen from the first one."""

    def __init__(self, listener: socket.socket, job: bytes) -> None:
        self._born = time.monotonic()
        path = os.pathsep.join(module_path())
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, os.pathsep, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=_stderr(),
            cwd=neutral_folder(),
            env=environment(),
            pass_fds=[listener.fileno()],
            # Ctrl-C on the terminal is the first process's to see to.
            start_new_session=True,
        )
        assert self.process.stdin is not None
        message = pickle.dumps((listener.fileno(), log.getEffectiveLevel(), job))
        with contextlib.suppress(OSError):  # it died already, which is seen later
            self.process.stdin.write(_HEAD.pack(len(message)) + message)
            self.process.stdin.flush()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._born

    def close(self) -> None:
        """Tell it to stop; again does nothing."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()


def receive() -> tuple[socket.socket, int, Any]:
    """In a worker: the socket to answer at, the level to log at, and what to do."""
    (size,) = _HEAD.unpack(sys.stdin.buffer.read(_HEAD.size))
    descriptor, level, job = pickle.loads(sys.stdin.buffer.read(size))
    return socket.socket(fileno=descriptor), level, pickle.loads(job)


def watch(stop: Callable[[], None]) -> None:
    """In a worker: call ``stop``, from a thread, when the first process says so or is gone."""

    def wait() -> None:
        # Not through sys.stdin, which a thread that waits would keep locked when Python ends.
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        stop()

    threading.Thread(target=wait, name="faceflow-worker", daemon=True).start()


def _stderr() -> int | None:
    """Where this process's messages go, which need not be the descriptor 2; None: that one."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or replaced by no file
        return None


def _said(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"the status {code}"


@contextlib.contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {one: signal.signal(one, handler) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, former in before.items():
            signal.signal(one, former)
