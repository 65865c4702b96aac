"""Search again and again until the gallery holds N faces; print every new count.

Arguments: gallery path, N.
"""

from __future__ import annotations

import sys
import time

from faceflow.gallery import Gallery


def main() -> None:
    goal = int(sys.argv[2])
    with Gallery.open(sys.argv[1], readonly=True) as gallery:
        query = gallery.features([1])
        seen = 0
        deadline = time.monotonic() + 30
        while seen < goal and time.monotonic() < deadline:
            with gallery.snapshot() as view:
                shortlist = view.search(query, k=goal)
                found = shortlist.face_ids[0][shortlist.face_ids[0] > 0]
                assert len(found) == len(view)
                assert shortlist.cosine[0, 0] == 1.0
                view.features(found[:20])
                view.person_of(found[:20])
            if len(found) != seen:
                seen = len(found)
                sys.stdout.write(f"{seen}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
