"""Detections on disk: finding a face is dear, and neither a network nor a weighting changes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from faceflow.arrays import UInt8
from faceflow.evaluation.kept_files import opened
from faceflow.faces import detectors
from faceflow.faces.detectors import Detection, Detector
from faceflow.system.caches import new_key

_TABLE = "CREATE TABLE IF NOT EXISTS found (pixels BLOB PRIMARY KEY, faces TEXT NOT NULL)"


class KeptDetector:
    """A detector that looks at each picture once, and remembers what it found between runs.

    A picture is known by its pixels: so covers drawn alike, the clean photo beneath them and the
    same photos under another network are not looked at again. About 500 bytes a picture.

    Args:
        detector: what finds the faces.
        folder: one file for each detector and state of its code.
    """

    def __init__(self, detector: Detector, folder: Path) -> None:
        self.inner = detector
        self.name = detector.name
        key = new_key("detections 1", detectors)
        key.update(detector.name.encode())
        self.path = folder / f"detections-{detector.name}-{key.hexdigest()[:24]}.sqlite"

    def detect(self, image: UInt8) -> list[Detection]:
        """As :meth:`Detector.detect`, to the last bit.

        Raises:
            InputError: as the detector's.
            FaceflowError: the file cannot be read or written.
        """
        pixels = hashlib.sha256(f"{image.shape}{image.dtype}".encode())
        pixels.update(np.ascontiguousarray(image).data)
        key = pixels.digest()
        with self._opened() as file:
            row = file.execute("SELECT faces FROM found WHERE pixels = ?", [key]).fetchone()
        if row is not None:
            return _read(row[0])
        found = self.inner.detect(image)  # the file is not held meanwhile
        with self._opened() as file:
            file.execute("INSERT OR IGNORE INTO found VALUES (?, ?)", [key, _write(found)])
            file.commit()
        return found

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection of the calling thread's own.

        No write-ahead log: turning it on does not wait for others who do the same.
        """
        with opened(self.path, "detections") as file:
            file.execute(_TABLE)
            yield file


def _write(found: list[Detection]) -> str:
    """As JSON: Python writes every float64 so that it reads back the same."""
    return json.dumps(
        [
            [
                face.box.tolist(),
                face.landmarks.tolist(),
                face.score,
                None if face.points is None else face.points.tolist(),
            ]
            for face in found
        ]
    )


def _read(text: str) -> list[Detection]:
    faces: list[Any] = json.loads(text)
    return [
        Detection(
            np.array(box, dtype=np.float64),
            np.array(landmarks, dtype=np.float64),
            float(score),
            None if points is None else np.array(points, dtype=np.float64),
        )
        for box, landmarks, score, points in faces
    ]
