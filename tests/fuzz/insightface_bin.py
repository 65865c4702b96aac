"""Fuzz target: insightface's .bin files, which are pickles."""

from __future__ import annotations

import tempfile
from pathlib import Path

from faceflow.errors import InputError
from faceflow.evaluation.data.insightface_bin import read_bin


def one(data: bytes) -> None:
    """Photos as bytes that lie in the file, or an InputError."""
    with tempfile.TemporaryDirectory(prefix="faceflow-fuzz-") as folder:
        path = Path(folder, "a.bin")
        path.write_bytes(data)
        try:
            found = read_bin(path)
        except InputError:
            return
    for photo in found.photos:
        assert isinstance(photo.image, bytes)
        assert len(photo.image) <= len(data)
