"""What a threshold costs: how many strangers it lets in, and how many known people it turns away.

python examples/choose_threshold.py [PEOPLE/ QUERIES/]

Queries are named NAME-anything.jpg; a NAME that is not enrolled is a stranger. This is the idea in
few lines; `faceflow calibrate` does it properly, by cross-validation and with intervals.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from faceflow import FaceflowError, Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.faces.images import iter_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("people", nargs="?", type=Path, default=PEOPLE, help="a folder per person")
    parser.add_argument("queries", nargs="?", type=Path, default=QUERIES, help="NAME-anything.jpg")
    given = parser.parse_args()

    known, strangers = [], []  # (score, whether the best person is right); scores
    with (
        tempfile.TemporaryDirectory() as folder,
        Identifier(Path(folder) / "people.faceflow") as people,
    ):
        people.enroll(given.people)
        enrolled = {person.name for person in people.people}
        for photo, found in people.identify_many(iter_images(given.queries), select="largest"):
            if isinstance(found, FaceflowError):
                continue
            best, shown = found[0].people[0], photo.stem.split("-")[0]
            if shown in enrolled:
                known.append((best.score, best.person == shown))
            else:
                strangers.append(best.score)

    print(f"{len(known)} queries of enrolled people, {len(strangers)} of strangers")
    print("threshold  strangers let in  enrolled people missed or mistaken")
    for threshold in np.arange(0.4, 0.85, 0.05):
        alarms = sum(score >= threshold for score in strangers)
        misses = sum(score < threshold or not right for score, right in known)
        print(f"{threshold:9.2f}  {alarms:16d}  {misses:34d}")


if __name__ == "__main__":
    main()
