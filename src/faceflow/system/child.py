"""Run one function of ours on hostile input in a child process, under limits.

A reader of foreign files may have a bug that hangs, eats the memory or crashes. In a child process
such a bug costs an error message. :func:`run` starts a Python that takes nothing from the working
folder or the environment's module path, gives it the open input, and takes back JSON and arrays,
never a pickle::

    def count(data: BinaryIO, *, symbol: str) -> Answer:
        content = data.read()
        return Answer({"found": content.count(symbol.encode())}, {"bytes": np.frombuffer(...)})

    answer = run(count, open_regular(path, limit=...), {"symbol": "a"}, what="the file x",
                 error=WeightsError)

Limits are the kernel's where it has them (Linux: memory, CPU time, file size, open files), and a
wall clock in both processes everywhere. Where the system has no ``resource`` module (Windows) the
wall clock is all there is. This is no sandbox against code that already runs in the child.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from faceflow import errors
from faceflow.errors import FaceflowError
from faceflow.system.files import read_regular
from faceflow.system.programs import environment, module_path

# -I: no working folder, no PYTHONPATH, no user's site on the module path before we say so.
_BOOT = """
import json, sys
with open(sys.argv[1] + "/request.json", "rb") as file:
    request = json.load(file)
sys.path.extend(entry for entry in request["module_path"] if entry not in sys.path)
from faceflow.system import child
child.serve(sys.argv[1], request)
"""
_MB = 2**20
_VALUE_LIMIT = 64 * _MB  # bytes of an answer's JSON
# Libraries reserve address space for every thread of theirs; one does for reading a file.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may take.

    Attributes:
        seconds: wall clock, start and imports included.
        cpu_seconds: processor time for the function, imports not counted.
        memory: bytes of address space on top of what the imports took.
        answer: bytes of the arrays it may give back.
    """

    seconds: float = 120.0
    cpu_seconds: int = 60
    memory: int = 4096 * _MB
    answer: int = 4096 * _MB


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back: a JSON value, and arrays of plain element types by name, in order."""

    value: Any = None
    arrays: Mapping[str, Any] = field(default_factory=dict)


def run(
    function: Callable[..., Answer],
    data: BinaryIO | bytes,
    arguments: Mapping[str, Any] | None = None,
    *,
    what: str,
    limits: Limits | None = None,
    error: type[FaceflowError] = FaceflowError,
) -> Answer:
    """Call ``function(data, **arguments)`` in a child process.

    Args:
        function: one of faceflow's, found at the top of its module. It gets the input as a
            seekable binary file and gives an :class:`Answer`. It must not have hidden state:
            the child imports its module anew.
        data: an open file that has a descriptor, read from its start; or bytes.
        arguments: JSON values.
        what: the input's name for messages, e.g. "the checkpoint x.pth".
        limits: the defaults when None.
        error: class of the errors about the child; those that the function raises keep theirs.

    Returns:
        The function's answer; its arrays are the parent's own copies.

    Raises:
        FaceflowError: what the function raised; or of class ``error``, when the child took too
            much, crashed, failed in another way, or could not be started.
        OSError: there is no room for temporary files.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="faceflow-", ignore_cleanup_errors=True) as folder:
        request = {
            "module": function.__module__,
            "function": function.__qualname__,
            "arguments": dict(arguments or {}),
            "limits": asdict(limits),
            # The child's own entries come first; ours add editable installs and PYTHONPATH.
            "module_path": [*module_path(), str(Path(__file__).resolve().parents[1])],
        }
        Path(folder, "request.json").write_text(json.dumps(request))
        with contextlib.ExitStack() as stack:
            if isinstance(data, bytes):
                copy = stack.enter_context(tempfile.TemporaryFile(dir=folder))
                copy.write(data)
                copy.flush()
                data = copy
            # Not data.seek: that may stay within the object's buffer and move nothing.
            os.lseek(data.fileno(), 0, os.SEEK_SET)
            status = _wait(folder, data, limits, what, error)
        return _read(folder, status, limits, what, error)


def _wait(
    folder: str, data: BinaryIO, limits: Limits, what: str, error: type[FaceflowError]
) -> int:
    """Start the child and wait for its end, which comes in time; its exit status."""
    debug = os.environ.get("FACEFLOW_DEBUG", "") not in ("", "0")
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, folder],
            stdin=data,
            stdout=subprocess.DEVNULL,
            stderr=None if debug else subprocess.DEVNULL,
            cwd=folder,
            env=environment() | ONE_THREAD,
        )
    except (OSError, ValueError) as problem:
        raise error(
            f"{what} cannot be read",
            why=f"the process that reads it, {sys.executable!r}, does not start: {problem}",
        ) from problem
    try:
        return process.wait(limits.seconds)
    except subprocess.TimeoutExpired:
        raise _took(what, f"longer than {limits.seconds:g} seconds", error) from None
    finally:  # also when we are interrupted
        process.kill()
        process.wait()


def _read(
    folder: str, status: int, limits: Limits, what: str, error: type[FaceflowError]
) -> Answer:
    """The answer in the folder. What wrote it met hostile input, so it is data, not trusted."""
    if status:
        raise _ended(status, limits, what, error)
    try:
        file = Path(folder, "answer.json")
        answer = json.loads(read_regular(file, limit=_VALUE_LIMIT, kind="answer", error=error))
        if "failure" in answer:
            raise _failure(answer["failure"], limits, what, error)
        if not answer["names"]:
            return Answer(answer["value"])
        import safetensors.numpy

        arrays = safetensors.numpy.load_file(Path(folder, "answer.safetensors"))
        # By number: safetensors keeps no order, and has a name of its own.
        named = {name: arrays[str(n)] for n, name in enumerate(answer["names"])}
        for array in named.values():
            array.flags.writeable = False
        return Answer(answer["value"], named)
    except FaceflowError:
        raise
    except Exception as problem:  # whatever a spoilt answer makes of these readers
        raise error(
            f"{what} cannot be read",
            why=f"the process that read it left no answer that makes sense ({problem})",
        ) from problem


def _failure(
    told: Mapping[str, str], limits: Limits, what: str, error: type[FaceflowError]
) -> FaceflowError:
    kind = getattr(errors, told["class"], None)
    if isinstance(kind, type) and issubclass(kind, FaceflowError):
        return kind(told["what"], why=told["why"], todo=told["todo"])
    if told["class"] == "MemoryError":
        return _took(what, f"more than {limits.memory // _MB:,} MB of memory", error)
    if told["class"] == "_TooLarge":
        return _took(what, f"more than {limits.answer // _MB:,} MB for its arrays", error)
    return error(
        f"{what} cannot be read", why=f"its reader failed: {told['class']}: {told['what']}"
    )


def _ended(status: int, limits: Limits, what: str, error: type[FaceflowError]) -> FaceflowError:
    if os.name == "posix" and status < 0:
        if -status == signal.SIGXCPU:
            return _took(what, f"more than {limits.cpu_seconds} seconds of processor time", error)
        if -status == signal.SIGALRM:
            return _took(what, f"longer than {limits.seconds:g} seconds", error)
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
            return error(f"{what} cannot be read", why=f"its reader was ended by {name}")
    return error(f"{what} cannot be read", why=f"its reader ended with status {status}")


def _took(what: str, much: str, error: type[FaceflowError]) -> FaceflowError:
    return error(
        f"{what} was given up",
        why=f"reading it took {much}, and no file that is in order needs that",
        todo="do not use it, or get it again from a source you trust",
    )


class _TooLarge(Exception):
    """The answer's arrays exceed the limit."""


def serve(folder: str, request: Mapping[str, Any]) -> None:
    """The child's side of :func:`run`: do what ``request`` says, leave the answer in ``folder``."""
    limits = Limits(**request["limits"])
    _limit_time(limits)
    names: list[str] = []
    told: dict[str, Any]
    try:
        function = getattr(importlib.import_module(request["module"]), request["function"])
        import numpy as np
        import safetensors.numpy

        # Buffered anew, because sys.stdin may already have read ahead.
        data = io.BufferedReader(io.FileIO(0, closefd=False))
        _limit_rest(limits)
        answer: Answer = function(data, **request["arguments"])
        if answer.arrays:
            names = list(answer.arrays)
            if sum(array.nbytes for array in answer.arrays.values()) > limits.answer:
                raise _TooLarge
            arrays = {str(n): np.array(a, order="C") for n, a in enumerate(answer.arrays.values())}
            safetensors.numpy.save_file(arrays, Path(folder, "answer.safetensors"))
        told = {"value": answer.value, "names": names}
    except FaceflowError as problem:
        told = {"failure": _parts(type(problem).__name__, problem)}
    except MemoryError:
        told = {"failure": {"class": "MemoryError"}}
    except Exception as problem:
        told = {"failure": {"class": type(problem).__name__, "what": str(problem)[:500]}}
    Path(folder, "answer.json").write_text(json.dumps(told))


def _parts(name: str, problem: FaceflowError) -> dict[str, str]:
    return {"class": name, "what": problem.what, "why": problem.why, "todo": problem.todo}


def _limit_time(limits: Limits) -> None:
    """The wall clock ends the child also when its parent is gone; no Python code is in between."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limits.seconds)


def _limit_rest(limits: Limits) -> None:
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + limits.cpu_seconds
    lower_limit(resource.RLIMIT_CPU, seconds, seconds + 1)
    # The header that safetensors adds to the arrays' bytes is small beside this.
    lower_limit(resource.RLIMIT_FSIZE, limits.answer + _MB)
    lower_limit(resource.RLIMIT_CORE, 0)
    lower_limit(resource.RLIMIT_NOFILE, 64)
    with contextlib.suppress(OSError):  # Linux only; macOS would refuse or ignore the limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        lower_limit(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory)


def lower_limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, or keep one that is lower already."""
    import resource

    _, most = resource.getrlimit(kind)
    wanted = soft if hard is None else hard
    hard = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (min(soft, hard), hard))
