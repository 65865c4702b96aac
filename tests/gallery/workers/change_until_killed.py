"""Change a gallery until killed; a line on standard output for every change that returned.

Arguments: location, a number that makes faces and names its own, what to do (enroll, remove).
``enroll``: "face PERSON ID". ``remove``: removes whom it finds, "gone PERSON".
"""

from __future__ import annotations

import hashlib
import itertools
import sys

import numpy as np

from faceflow.features import FaceFeatures
from faceflow.gallery import Enrolment, Gallery


def tell(line: str) -> None:
    """Say it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    location, number, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rng = np.random.default_rng(number)
    with Gallery.open(location) as gallery:
        tell("ready")
        if what == "remove":
            for person in gallery.people():
                gallery.remove_person(person.name)
                tell(f"gone {person.name}")
            return
        for i in itertools.count():
            face = FaceFeatures.from_maps(
                rng.standard_normal((1, 32)), rng.standard_normal((1, 16, 4, 4))
            ).as_from(gallery.features_digest)
            name = f"W{number}-{i}"
            content = hashlib.sha256(name.encode()).hexdigest()
            report = gallery.enroll([Enrolment(name, f"{name}.jpg", content, face)])
            tell(f"face {name} {report.face_ids[0]}")


if __name__ == "__main__":
    main()
