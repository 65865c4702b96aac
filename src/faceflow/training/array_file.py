"""Arrays and plain values of a run on disk, whole or not at all; read without running anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from faceflow.errors import FaceflowError, InputError
from faceflow.system.files import atomic_write

_RECORD = "record"


def identity(*parts: Any) -> str:
    """A short sum over what must not change between a run and its continuation."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def save(
    path: Path, run: str, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
) -> None:
    """Write a checkpoint.

    Args:
        path: the file.
        run: from :func:`identity`.
        arrays: by name.
        record: JSON values.

    Raises:
        FaceflowError: it cannot be written; the one before is as it was.
    """
    text = json.dumps({"run": run, **record}, allow_nan=False).encode()
    content = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content[_RECORD] = np.frombuffer(text, np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(safetensors.numpy.save(content))
    except OSError as error:
        raise FaceflowError(
            f"The checkpoint {path} cannot be written", why=error.strerror or str(error)
        ) from error


def load(path: Path, run: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Arrays and record of the run called ``run``; None where there is no checkpoint.

    Raises:
        InputError: it belongs to another run: other photos, recipe or network.
        FaceflowError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        arrays: dict[str, NDArray[Any]] = safetensors.numpy.load_file(path)
        record: dict[str, Any] = json.loads(arrays.pop(_RECORD).tobytes())
        other = record.pop("run")
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise FaceflowError(
            f"The checkpoint {path} cannot be read",
            why=str(error) or type(error).__name__,
            todo="delete it to begin anew",
        ) from error
    if other != run:
        raise InputError(
            f"{path.parent} holds another run",
            why="it was started with other photos, another network or another recipe",
            todo="name another folder for this run, or delete that one",
        )
    return arrays, record
