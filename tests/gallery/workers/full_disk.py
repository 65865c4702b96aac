"""Enroll under a limit on file sizes until it fails; print the faces acknowledged.

Arguments: gallery path, limit in bytes. Prints the count, then the error.
"""

from __future__ import annotations

import resource
import sys

from enroll_forever import faces

from faceflow.errors import GalleryError
from faceflow.gallery import EnrolReport, Gallery


def main() -> None:
    safe = 0

    def acknowledge(report: EnrolReport) -> None:
        nonlocal safe
        safe += report.added

    with Gallery.open(sys.argv[1]) as gallery:
        limit = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            gallery.enroll(faces(len(gallery)), batch=8, on_commit=acknowledge)
        except GalleryError as error:
            # Still usable for reading, in the same process.
            assert len(gallery) >= safe
            sys.stdout.write(f"{safe}\n")
            sys.stdout.write(f"{error}\n")


if __name__ == "__main__":
    main()
