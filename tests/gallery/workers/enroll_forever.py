"""Enroll batches until killed; says after each batch how many faces are safe.

Arguments: gallery path. Face i is a function of i alone, so a reader can check it.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, EnrolReport, Gallery

BATCH = 12


def face(i: int) -> Enrolment:
    rng = np.random.default_rng(i)
    return Enrolment(
        person=f"Person {i // 5}",
        source=f"{i}.jpg",
        content_hash=hashlib.sha256(str(i).encode()).hexdigest(),
        features=FaceFeatures.from_maps(
            rng.standard_normal((1, 64)),
            rng.standard_normal((1, 64, 8, 8)),
            digest=features_digest("d"),
        ),
        crop=np.full((40, 40, 3), i % 256, dtype=np.uint8),
    )


def faces(start: int) -> Iterator[Enrolment]:
    return (face(i) for i in itertools.count(start))


def main() -> None:
    path = Path(sys.argv[1])
    if not path.exists():
        Gallery.create(
            path, network_name="n", digest="d", embedding_size=64, grid=(8, 8), channels=64
        ).close()
    with Gallery.open(path) as gallery:
        safe = len(gallery)
        sys.stdout.write(f"{safe}\n")
        sys.stdout.flush()

        def acknowledge(report: EnrolReport) -> None:
            nonlocal safe
            safe += report.added
            sys.stdout.write(f"{safe}\n")
            sys.stdout.flush()

        gallery.enroll(faces(safe), batch=BATCH, on_commit=acknowledge)


if __name__ == "__main__":
    main()
