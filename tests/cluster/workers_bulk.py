"""A driver of a bulk enrolment with a made-up network; arguments: photos, gallery, report.

With "plain" as fourth argument the same is enrolled without Ray.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from faceflow.analyzer import Face
from faceflow.errors import FaceflowError, NoFaceError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Gallery
from faceflow.gallery.enrolment import enroll_photos, list_photos
from faceflow.gallery.outcome_files import outcome_file

DIGEST = "d1" * 32


class MadeUp:
    """Takes time, and makes features of a photo's pixels alone; a black photo shows no face."""

    network = SimpleNamespace(digest=DIGEST, spec=SimpleNamespace(name="testnet", teacher=""))
    detector_name = "centerface"

    def analyze_each(
        self, items: Iterable[Any], read: Callable[[Any], Any], **_: object
    ) -> Iterator[tuple[Any, list[Face] | FaceflowError]]:
        for item in items:
            try:
                photo = read(item)
                if not photo.pixels.any():
                    raise NoFaceError(f"No face was found in {photo.name}")
            except FaceflowError as error:
                yield item, error
                continue
            time.sleep(0.02)
            rng = np.random.default_rng(photo.pixels.ravel().tolist())
            features = FaceFeatures.from_maps(
                rng.standard_normal((1, 32)),
                rng.standard_normal((1, 16, 4, 4)),
                digest=features_digest(DIGEST, "centerface"),
            )
            box = np.array([0.0, 0.0, 8.0, 8.0])
            yield item, [Face(box, None, 0.9, photo.pixels, features, "detected", 1)]  # type: ignore[arg-type]


def main() -> None:
    photos, location, report = map(Path, sys.argv[1:4])
    if not location.exists():
        Gallery.create(
            location,
            network_name="testnet",
            digest=DIGEST,
            embedding_size=32,
            grid=(4, 4),
            channels=16,
            detector="centerface",
        ).close()
    with outcome_file(report) as tell:
        if sys.argv[4:] == ["plain"]:
            with Gallery.open(location) as gallery:
                enroll_photos(list_photos([photos]), gallery, MadeUp(), tell=tell)  # type: ignore[arg-type]
            return
        from faceflow.cluster import bulk

        done = bulk.enroll([photos], location, make=MadeUp, tell=tell)  # type: ignore[arg-type]
        numbers = (done.photos, done.added, done.duplicates, len(done.skipped))
        sys.stdout.write(" ".join(map(str, numbers)))


if __name__ == "__main__":
    main()
