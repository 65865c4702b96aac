"""People made of squares: photos, a detector that finds them, a network that tells them apart.

A photo is grey, with a red square for each face. What a face looks like lies in the square's green:
8x8 blocks, drawn from the person's seed, shifted a little from photo to photo. Nothing is loaded.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.arrays import UInt8
from faceflow.faces.alignment import TEMPLATES
from faceflow.faces.detectors import Detection
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment

BLOCKS = 8
GRID = (4, 4)
CHANNELS = 8
SIZE = 32
DIGEST = "d1" * 32

_rng = np.random.default_rng(7)
_EMBED = _rng.standard_normal((BLOCKS * BLOCKS, SIZE))
_PATCH = _rng.standard_normal((4, CHANNELS))


def looks(person: int, photo: int = 0) -> np.ndarray:
    """(8, 8) levels in 0..255 of one photo of a person; negative photos hide the lower half."""
    rng = np.random.default_rng(1000 + person)
    levels = rng.uniform(30, 225, (BLOCKS, BLOCKS))
    levels += np.random.default_rng(person * 1000 + abs(photo)).normal(0, 12, levels.shape)
    if photo < 0:
        levels[BLOCKS // 2 :] = 128
    return np.clip(levels, 0, 255)


def photo(*faces: tuple[int, int], side: int = 96, score: int = 250, kind: str = "PNG") -> bytes:
    """A photo that shows (person, photo) side by side."""
    image = np.full((side + 40, 20 + len(faces) * (side + 20), 3), 80, np.uint8)
    for place, face in enumerate(faces):
        x, y = 20 + place * (side + 20), 20
        levels = np.kron(looks(*face), np.ones((side // BLOCKS, side // BLOCKS)))
        square = image[y : y + side, x : x + side]
        square[..., 0], square[..., 1], square[..., 2] = 255, levels, score - place
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind)
    return out.getvalue()


class Squares:
    """Finds the squares, scored by their blue."""

    name = "squares"

    def detect(self, image: UInt8) -> list[Detection]:
        found = []
        red = image[..., 0] == 255
        for blue in np.unique(image[..., 2][red]):
            rows, columns = np.nonzero(red & (image[..., 2] == blue))
            if len(rows) < 64:
                continue
            box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)
            points = TEMPLATES["lightcnn-128"].points / 128
            landmarks = box[:2] + points * (box[2:] - box[:2])
            found.append(Detection(box, landmarks, float(blue) / 255))
        return sorted(found, key=lambda one: -one.score)


class Blocks:
    """Sees the green of 8x8 blocks."""

    batch_size = 1
    threads = 1

    def __init__(self, digest: str = DIGEST, name: str = "blocks") -> None:
        spec = networks.spec(networks.DEFAULT)
        self.spec = dataclasses.replace(
            spec, name=name, embedding_size=SIZE, grid=GRID, channels=CHANNELS
        )
        self.digest = digest

    def embed(self, crops: UInt8) -> FaceFeatures:
        side = crops.shape[1] // BLOCKS
        green = crops[..., 1].astype(np.float64)
        shaped = green.reshape(len(crops), BLOCKS, side, BLOCKS, side)
        seen = shaped.mean(axis=(2, 4)) / 128 - 1
        cells = seen.reshape(-1, GRID[0], 2, GRID[1], 2).transpose(0, 1, 3, 2, 4)
        maps = cells.reshape(len(crops), *GRID, 4) @ _PATCH
        embedding = seen.reshape(len(crops), -1) @ _EMBED
        return FaceFeatures.from_maps(
            embedding, maps.transpose(0, 3, 1, 2), digest=features_digest(self.digest, Squares.name)
        )


def analyzer(network: str = "blocks", detector: str = "mtcnn") -> FaceAnalyzer:
    """What a service asks for in place of a real network."""
    return FaceAnalyzer(Blocks(name=network), Squares())  # type: ignore[arg-type]


@functools.cache
def enrolments(*, people: int, photos: int) -> tuple[Enrolment, ...]:
    """What adding photos 0, 1, ... of people 0, 1, ... gives, person by person."""
    made = []
    for person in range(people):
        for number in range(photos):
            data = photo((person, number))
            (face,) = analyzer().analyze(data)
            made.append(
                Enrolment(
                    person=f"Person {person}",
                    source=f"{person}-{number}.png",
                    content_hash=hashlib.sha256(data).hexdigest(),
                    features=face.features,
                    box=face.box,
                    score=face.score,
                    crop=face.crop,
                )
            )
    return tuple(made)


def multipart(
    files: Sequence[tuple[str, str, bytes]], texts: dict[str, str] | None = None
) -> tuple[bytes, dict[str, str]]:
    """A form's bytes and headers: (field, file name, content) and texts."""
    boundary = "boundary7MA4YWxk"
    parts = []
    for name, text in (texts or {}).items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{text}'.encode())
    for name, file, data in files:
        head = f'Content-Disposition: form-data; name="{name}"; filename="{file}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data)
    body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
    body += f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}
