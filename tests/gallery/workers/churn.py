"""Enroll and remove people by turns; print the gallery's faces after every change.

Arguments: gallery path, changes. A line is a state: "id:person id:person ...", by id.
"""

from __future__ import annotations

import random
import sys

from enroll_forever import face

from faceflow.gallery import Gallery


def main() -> None:
    rng = random.Random(int(sys.argv[2]))
    alive: dict[int, str] = {}
    with Gallery.open(sys.argv[1]) as gallery:
        alive = {record.face_id: record.person for record in gallery.faces()}
        following = max(alive, default=0)
        for _ in range(int(sys.argv[2])):
            people = sorted(set(alive.values()))
            if len(people) > 6 or (len(people) > 2 and rng.random() < 0.5):
                gone = rng.choice(people)
                gallery.remove_person(gone)
                alive = {i: person for i, person in alive.items() if person != gone}
            else:
                items = [face(following + i) for i in range(5)]
                report = gallery.enroll(items)
                alive |= dict(zip(report.face_ids, (i.person for i in items), strict=True))
                following += 5
            sys.stdout.write(" ".join(f"{i}:{alive[i]}" for i in sorted(alive)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
