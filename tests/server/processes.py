"""Services in processes of their own, asked over real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from serve_squares import SLOW

from faceflow.server.audit import verify
from faceflow.server.client import Client
from faceflow.server.state import State

SCRIPT = Path(__file__).parent / "serve_squares.py"


class Process:
    """A service in another process."""

    def __init__(
        self,
        folder: Path,
        slow: float = 0.0,
        *,
        limits: dict[str, int] | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        note = folder.parent / f"address-{time.monotonic_ns()}"
        told = {"galleries": str(folder), "note": str(note), "limits": limits or {}, **settings}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), json.dumps(told)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {SLOW: str(slow)},
        )
        until = time.monotonic() + 120
        while not (note.exists() and note.read_text()):
            assert time.monotonic() < until
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)
        self.url, _, self.key = note.read_text().partition(" ")

    def client(self, key: str = "") -> Client:
        return Client(self.url, key or self.key)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


def chain(folder: Path) -> int:
    state = State(folder / "faceflow-server.state")
    try:
        return verify(state)[0]
    finally:
        state.close()


def children(parent: int) -> set[int]:
    """Workers that a process started and that still run."""
    found = set()
    for place in Path("/proc").iterdir():
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            words = (place / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        ours = int(fields[1]) == parent and fields[0] != "Z"
        if ours and b"serving.work()" in words:
            found.add(int(place.name))
    return found
