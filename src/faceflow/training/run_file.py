"""A training run on disk, whole or not at all, so that it can go on after anything."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from faceflow.errors import FaceflowError, InputError
from faceflow.system.files import atomic_write


def identity(*parts: Any) -> str:
    """A short sum over what must not change between a run and its continuation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values.

    Raises:
        FaceflowError: it cannot be written; the one before is as it was.
    """
    try:
        with atomic_write(path) as file:
            torch.save(state, file)
    except OSError as error:
        raise FaceflowError(
            f"The checkpoint {path} cannot be written", why=error.strerror or str(error)
        ) from error


def load(path: Path, run: str) -> dict[str, Any] | None:
    """The checkpoint of the run called ``run``; None where there is no checkpoint.

    It is read without executing anything (PyTorch's ``weights_only``).

    Raises:
        InputError: it belongs to another run: other photos, recipe or network.
        FaceflowError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        other = state["run"]
    except Exception as error:  # PyTorch raises many unrelated types
        raise FaceflowError(
            f"The checkpoint {path} cannot be read",
            why=str(error).splitlines()[0] if str(error) else "",
            todo="delete it to begin anew",
        ) from error
    if other != run:
        raise InputError(
            f"{path.parent} holds another run",
            why="it was started with other photos, another network or another recipe",
            todo="name another folder for this run, or delete that one",
        )
    return state
