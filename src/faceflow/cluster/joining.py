"""Joining a Ray cluster, or starting one on this machine; never without its token.

Ray runs whatever code anybody sends who reaches it. So faceflow works with clusters that ask for a
token, and with no others; and the one that it starts by itself listens on this machine alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceflow.errors import FaceflowError, InputError, MissingExtraError
from faceflow.system.caches import cache_dir
from faceflow.system.files import atomic_write

NAMESPACE = "faceflow"
"""Where our actors have their names."""
LOCAL = "local"
"""The address that means: a cluster of this program's own, on this machine, gone with it."""

AUTO = "auto"
"""The address that means: the cluster on this machine, ours first."""

_PATIENCE = 10.0
_NOTE = "cluster-address"
_LOOPBACK = ("127.0.0.1", "localhost")
_TODO = "see docs/cluster.md, 'What must never be exposed'"


@contextlib.contextmanager
def joined(address: str, *, cpus: int | None = None) -> Iterator[str]:
    """Be part of a cluster for the length of a block; gives the address that others can join.

    A program that has joined one already stays in it.

    Args:
        address: ``host:port`` of the cluster's head, ``auto`` for the one on this machine, or
            ``local``.
        cpus: how many a cluster of our own says to have; logical ones, they limit nobody.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: the address is none, or Ray is told to work without a token.
        FaceflowError: there is no cluster, or it does not take our token.
    """
    if address == AUTO:
        address = _last_local() or AUTO
    _prepare(address)
    ray = ray_module()
    if ray.is_initialized():
        yield ray.get_runtime_context().gcs_address
        return
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False}
    if address not in (LOCAL, AUTO):
        _require_listener(address)
    if address == LOCAL:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    try:
        # Its own way to say that something is amiss is a stream of warnings.
        with _own_signals():
            ray.init(address=address, logging_level=logging.ERROR, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise FaceflowError(
            f"The Ray cluster at {address} cannot be joined",
            why=str(error).strip().partition("\n")[0],
            todo="check that it runs (`ray status`) and that this machine has its token in "
            "~/.ray/auth_token, RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN",
        ) from error
    _keep_stdout_clean()
    found = ray.get_runtime_context().gcs_address
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        if address == LOCAL:
            stack.enter_context(_known_here(found))
        yield found


def _keep_stdout_clean() -> None:
    """Ray says on stdout, whatever it is told, that a machine is gone: where our answers go."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Who sees to being ended, as a service does, goes on seeing to it: Ray would take over."""
    here = threading.current_thread() is threading.main_thread()
    former = signal.getsignal(signal.SIGTERM) if here else None
    yield
    if callable(former):
        signal.signal(signal.SIGTERM, former)


def _require_listener(address: str) -> None:
    """Say at once that nobody is there: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise FaceflowError(
            f"Nobody answers at {address}",
            why=getattr(error, "strerror", None) or str(error),
            todo="check the address (`ray start` and `faceflow cluster start` show it), and that "
            "no firewall is in between",
        ) from error


def ray_module() -> Any:
    """Ray, imported where it is used.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "A cluster needs Ray, which is not installed",
            todo='run: pip install "faceflow[ray]"',
        ) from error
    return ray


def _prepare(address: str) -> None:
    """Set what Ray reads from the environment, before it is imported."""
    if address.startswith("ray://") or (address not in (LOCAL, AUTO) and ":" not in address):
        raise InputError(
            f"{address!r} is not the address of a Ray cluster's head",
            todo="write host:port, as `ray start` shows it; or auto, for the cluster on this "
            "machine",
        )
    if "RAY_AUTH_MODE" not in os.environ and "ray" in sys.modules:
        raise InputError(
            "Ray was imported before it was told to ask for a token",
            todo="set RAY_AUTH_MODE=token before the program starts, or join first",
        )
    mode = os.environ.setdefault("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        raise InputError(
            f"RAY_AUTH_MODE is {mode!r}, so that the cluster would ask nobody for a token",
            why="whoever reaches a Ray cluster without one runs any code on all its machines",
            todo=f"set it to token on every machine; {_TODO}",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL or address.partition(":")[0] in _LOOPBACK:
        # So Ray takes 127.0.0.1 for this machine's address, and all its parts listen there alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    _keep_token(make=address == LOCAL)


@contextlib.contextmanager
def _known_here(address: str) -> Iterator[None]:
    """While the block runs, ``auto`` means this cluster."""
    note = cache_dir() / _NOTE
    note.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(note) as file:
        file.write(address.encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if note.read_text() == address:
                note.unlink()


def _last_local() -> str | None:
    """The cluster that `faceflow cluster start` runs on this machine, if it does."""
    try:
        address = (cache_dir() / _NOTE).read_text().strip()
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port)), timeout=1):
            return address
    except (OSError, ValueError):
        return None


def _keep_token(*, make: bool) -> None:
    """See that there is a token that only this user can read.

    Raises:
        FaceflowError: there is none, and none is to be made.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        if path.exists():
            # Ray itself makes it readable for everybody.
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
        elif make:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Whole or not at all: another program may be doing the same.
            mine = path.with_name(f"auth_token.{os.getpid()}")
            mine.touch(0o600, exist_ok=False)
            mine.write_text(secrets.token_hex(32))
            with contextlib.suppress(FileExistsError):
                os.link(mine, path)
            mine.unlink()
        else:
            raise FaceflowError(
                "This machine has no token of the Ray cluster",
                why=f"there is no {path}",
                todo="copy it from the cluster's head (`ray get-auth-token` shows it there), "
                "readable for you alone",
            )
    except OSError as error:
        raise FaceflowError(
            f"The Ray cluster's token at {path} cannot be kept safe",
            why=error.strerror or str(error),
            todo="let it belong to you, and nobody else read it",
        ) from error
