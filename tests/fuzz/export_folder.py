"""Fuzz target: the manifest and the parts of an exported gallery, with right checksums.

The first byte says what the rest is: 0 the manifest, 1 the records, 2 the tensors, of an otherwise
sound export; sums are made right again, or nothing but the sums would ever be tested. 3 is a
manifest taken as it is.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np

from faceflow.errors import FaceflowError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.transfer import folder as transfer

_NAMES = {1: "faces-00000.json", 2: "faces-00000.safetensors"}
_KINDS = {1: "records", 2: "tensors"}


@functools.cache
def _sound() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    faces = FaceFeatures.from_maps(
        rng.standard_normal((3, 4)),
        rng.standard_normal((3, 4, 2, 2)),
        digest=features_digest("d"),
    )
    with tempfile.TemporaryDirectory() as folder:
        with Gallery.create(
            Path(folder) / "x.faceflow",
            network_name="n",
            digest="d",
            embedding_size=4,
            grid=(2, 2),
            channels=4,
        ) as gallery:
            faces = faces.as_from(gallery.features_digest)
            gallery.enroll(
                Enrolment(f"P{i}", f"{i}.jpg", hashlib.sha256(bytes([i])).hexdigest(), faces[i])
                for i in range(3)
            )
            made = gallery.export(Path(folder) / "export")
        return {path.name: path.read_bytes() for path in made.iterdir()}


def one(data: bytes) -> None:
    """A sound gallery, or a GalleryError that leaves nothing behind."""
    files = dict(_sound())
    kind, content = (data[0] if data else 3) % 4, data[1:]
    if kind == 3:
        files["gallery.json"] = content
    else:
        with contextlib.suppress(ValueError, RecursionError):
            manifest = json.loads(content if kind == 0 else files["gallery.json"])
            if kind:
                files[_NAMES[kind]] = content
                sums = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                manifest["parts"][0][_KINDS[kind]] |= sums
            if isinstance(manifest, dict):
                manifest.pop("sha256", None)
                manifest["sha256"] = hashlib.sha256(transfer._json(manifest)).hexdigest()
            files["gallery.json"] = json.dumps(manifest).encode()
    with tempfile.TemporaryDirectory() as folder:
        export, target = Path(folder) / "export", Path(folder) / "new" / "x.faceflow"
        export.mkdir()
        target.parent.mkdir()
        for name, value in files.items():
            (export / name).write_bytes(value)
        try:
            with Gallery.import_from(export, target) as gallery:
                gallery.check()
        except FaceflowError as error:
            assert len(str(error)) < 2000, "an error's text has no end"
            assert list(target.parent.iterdir()) == []
