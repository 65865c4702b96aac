"""Identify until standard input ends; print the number of calls, then every different answer.

Arguments: gallery path. An answer is "id:person id:person ...", by id, of all faces found.
"""

from __future__ import annotations

import sys
import threading

from enroll_forever import face

from faceflow.features import FaceFeatures
from faceflow.gallery import Gallery


def answer(gallery: Gallery, query: FaceFeatures) -> str:
    """What identification asks of a gallery, and what it was told."""
    with gallery.snapshot() as view:
        shortlist = view.search(query, k=60).face_ids[0]
        found = shortlist[shortlist > 0]
        codes = view.codes(found)
        sizes = {len(codes.embedding), len(codes.patches), len(codes.pooled)}
        assert sizes == {len(found)} == {len(view)}
        people = view.person_of(found)
    return " ".join(f"{i}:{person}" for i, person in sorted(zip(found, people, strict=True)))


def main() -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    calls, answers = 0, set()
    with Gallery.open(sys.argv[1], readonly=True) as gallery:
        while not over.is_set():
            answers.add(answer(gallery, face(calls % 40).features))
            calls += 1
    sys.stdout.write("\n".join([str(calls), *sorted(answers)]) + "\n")


if __name__ == "__main__":
    main()
