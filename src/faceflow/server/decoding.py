"""Photos into pixels, in processes of their own that may die.

A decoder that hostile bytes crash, hang or bloat takes down its process and nothing else: that
photo is refused, and the next one gets a new process. A process serves many photos, because
starting one costs more than decoding most. It is :func:`faceflow.faces.images.load_image` under
limits of the kernel: memory, and for each photo processor time; the wall clock is the parent's.

Between the two, both ways: a length in eight bytes, then as many bytes. The parent sends photos;
the child answers with a line of JSON and, where that says so, pixels.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from faceflow import errors
from faceflow.arrays import UInt8
from faceflow.errors import FaceflowError, ImageError
from faceflow.faces.images import load_image
from faceflow.system.child import ONE_THREAD, lower_limit
from faceflow.system.programs import environment, module_path, neutral_folder

_BOOT = """
import json, sys
sys.path.extend(entry for entry in json.loads(sys.argv[1]) if entry not in sys.path)
from faceflow.server import decoding
decoding.serve(float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
"""
_HEAD = struct.Struct("<Q")
# Address space on top of what the imports took. A photo may take 480 MB by
# faceflow.faces.photo_limits; allocators and the answer's copy need room beside that.
_MEMORY = 1024 * 2**20
_ANSWER = 64 * 2**10
_RENEW = 1000
"""Photos after which a process is replaced, so that whatever its libraries leak goes with it."""
_CHUNK = 2**20


class Decoders:
    """Some decoding processes, started when they are needed and replaced when they die.

    Safe to use from several threads.

    Args:
        processes: at most so many at once.
        seconds: for one photo, wall clock and processor time alike.
        pixels: bytes of a decoded photo.
        memory: bytes of address space for one photo.
    """

    def __init__(self, processes: int, seconds: float, pixels: int, memory: int = _MEMORY) -> None:
        self._seconds, self._pixels, self._memory = seconds, pixels, memory
        self._idle: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(processes):
            self._idle.put(None)
        self._all: set[_Process] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.deaths = 0
        """Processes that a photo ended."""

    def decode(self, data: bytes) -> UInt8:
        """A photo as (H, W, 3) uint8 RGB, upright.

        Raises:
            ImageError: it is no photo, or one that costs too much; or it ended its process.
        """
        process = self._idle.get()
        try:
            if process is None or not process.fresh:
                self._drop(process)
                process = self._start()
            return process.decode(data, self._seconds)
        except _Died as death:
            self._drop(process)
            process = None
            self.deaths += 1
            raise ImageError(
                "The photo cannot be read",
                why=death.why,
                todo="save it anew as a plain JPEG or PNG",
            ) from None
        finally:
            self._idle.put(process)

    def warm(self) -> None:
        """Start one process now, so that the first photo need not wait for it."""
        process = self._idle.get()
        try:
            process = process or self._start()
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed = True
            processes = list(self._all)
            self._all.clear()
        for process in processes:
            process.end()

    def _start(self) -> _Process:
        process = _Process(self._seconds, self._pixels, self._memory)
        with self._lock:
            if not self._closed:
                self._all.add(process)
                return process
        process.end()
        raise ImageError("The photo was not read", why="the service is stopping")

    def _drop(self, process: _Process | None) -> None:
        if process is not None:
            with self._lock:
                self._all.discard(process)
            process.end()


class _Died(Exception):
    """The process ended, or had to be ended, over a photo."""

    def __init__(self, why: str) -> None:
        self.why = why


class _Process:
    """One decoding process, seen from the service."""

    def __init__(self, seconds: float, pixels: int, memory: int) -> None:
        # Of what this process imports, the child needs the same places and no others.
        path = json.dumps([*module_path(), str(Path(__file__).resolve().parents[2])])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, path, *map(str, (seconds, pixels, memory))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=neutral_folder(),
            env=environment() | ONE_THREAD,
            bufsize=0,
            # Ctrl-C on the service's terminal must not end what it still needs.
            start_new_session=True,
        )
        # Unbuffered, so these are the pipes themselves.
        self._into = cast(io.FileIO, self._process.stdin)
        self._out = cast(io.FileIO, self._process.stdout)
        self._photos = 0

    @property
    def fresh(self) -> bool:
        return self._photos < _RENEW and self._process.poll() is None

    def decode(self, data: bytes, seconds: float) -> UInt8:
        self._photos += 1
        # The first photo also waits for the imports.
        deadline = time.monotonic() + seconds + (20 if self._photos == 1 else 0)
        try:
            self._into.write(_HEAD.pack(len(data)))
            view = memoryview(data)
            while view:
                view = view[self._into.write(view) :]
            (size,) = _HEAD.unpack(self._read(_HEAD.size, deadline))
            if size > _ANSWER:
                raise _Died("its reader left no answer that makes sense")
            told = json.loads(self._read(size, deadline))
            if "failure" in told:
                raise _failure(told["failure"])
            height, width = int(told["height"]), int(told["width"])
            pixels = self._read(height * width * 3, deadline)
        except (OSError, EOFError, ValueError, KeyError, TypeError, struct.error) as problem:
            raise _Died(self._end_of(seconds)) from problem
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def _read(self, size: int, deadline: float) -> bytearray:
        found = bytearray(size)
        view = memoryview(found)
        while view:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                self._process.kill()
                raise _Died("reading it took too long")
            count = self._out.readinto(view[:_CHUNK])
            if not count:
                raise EOFError
            view = view[count:]
        return found

    def _end_of(self, seconds: float) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(1)
            if os.name == "posix" and status == -signal.SIGPROF:
                return f"reading it took more than {seconds:g} seconds of processor time"
            if os.name == "posix" and status < 0:
                with contextlib.suppress(ValueError):
                    return f"its reader was ended by {signal.Signals(-status).name}"
        return "its reader failed"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._into, self._out):
            with contextlib.suppress(OSError):
                pipe.close()


def _failure(told: dict[str, Any]) -> FaceflowError:
    kind = getattr(errors, str(told["class"]), None)
    if not (isinstance(kind, type) and issubclass(kind, FaceflowError)):
        kind = ImageError
    return kind(str(told["what"]), why=str(told["why"]), todo=str(told["todo"]))


def serve(seconds: float, most: int, memory: int) -> None:
    """The child's side: photos from stdin, answers to stdout, until stdin ends."""
    source, target = io.FileIO(0, closefd=False), io.FileIO(1, "w", closefd=False)
    _limit(memory)
    while (head := _exactly(source, _HEAD.size)) is not None:
        (size,) = _HEAD.unpack(head)
        data = _exactly(source, size)
        if data is None:
            return
        if sys.platform != "win32":  # ends the process; no Python code is in between
            signal.setitimer(signal.ITIMER_PROF, seconds)
        told, pixels = _answer(bytes(data), most)
        if sys.platform != "win32":
            signal.setitimer(signal.ITIMER_PROF, 0)
        line = json.dumps(told).encode()
        _write(target, _HEAD.pack(len(line)) + line)
        if pixels is not None:
            _write(target, pixels.data.cast("B"))


def _answer(data: bytes, most: int) -> tuple[dict[str, Any], UInt8 | None]:
    try:
        pixels = load_image(data)
        if pixels.nbytes > most:
            raise ImageError(
                "The photo is too large",
                why=f"its pixels take {pixels.nbytes:,} bytes, and {most:,} are taken here",
                todo="scale it down",
            )
    except FaceflowError as problem:
        name = type(problem).__name__
        parts = {"what": problem.what, "why": problem.why, "todo": problem.todo}
        return {
            "failure": {"class": name} | {key: text[:2000] for key, text in parts.items()}
        }, None
    except MemoryError:
        told = {
            "class": "ImageError",
            "what": "The photo cannot be read",
            "why": "it takes too much memory",
            "todo": "scale it down",
        }
        return {"failure": told}, None
    return {"height": pixels.shape[0], "width": pixels.shape[1]}, pixels


def _limit(memory: int) -> None:
    # stdout is a pipe of answers: whatever a library prints must not get into it, but all
    # libraries are imported by now, and load_image's decoders print nothing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        return
    import resource

    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # Opens Pillow's readers and their libraries before the limits hold.
    with contextlib.suppress(ImageError):
        load_image(b"no image")
    lower_limit(resource.RLIMIT_FSIZE, 0)
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_NOFILE, 64)
    with contextlib.suppress(OSError):  # Linux only; macOS would refuse or ignore the limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        lower_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _exactly(source: io.FileIO, size: int) -> bytearray | None:
    """That many bytes; None where the input ends before."""
    found = bytearray(size)
    view = memoryview(found)
    while view:
        count = source.readinto(view[:_CHUNK])
        if not count:
            return None
        view = view[count:]
    return found


def _write(target: io.FileIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]
