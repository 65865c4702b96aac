"""Enroll N tiny-patch faces with 256-number embeddings; print peak memory on the way.

Arguments: gallery path, N. Prints the peak in KB after a fifth of the faces, and at the end.
"""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Iterator

import numpy as np

from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def items(total: int) -> Iterator[Enrolment]:
    rng = np.random.default_rng(0)
    pool = FaceFeatures.from_maps(
        rng.standard_normal((64, 256)),
        rng.standard_normal((64, 8, 2, 2)),
        digest=features_digest("d"),
    )
    for i in range(total):
        if i == total // 5:
            sys.stdout.write(f"{peak()}\n")
            sys.stdout.flush()
        content = hashlib.sha256(str(i).encode()).hexdigest()
        yield Enrolment(f"Person {i // 4}", f"{i}.jpg", content, pool[i % 64])


def main() -> None:
    total = int(sys.argv[2])
    with Gallery.create(
        sys.argv[1],
        network_name="n",
        digest="d",
        embedding_size=256,
        grid=(2, 2),
        channels=8,
    ) as gallery:
        assert gallery.enroll(items(total), batch=256).added == total
    sys.stdout.write(f"{peak()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
