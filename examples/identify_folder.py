"""Enroll a folder of people, identify a folder of photos, and write the reasons for each answer.

python examples/identify_folder.py [PEOPLE/ QUERIES/] [--output reasons/]
"""

import argparse
from pathlib import Path

from faceflow import FaceflowError, Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.faces.images import iter_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("people", nargs="?", type=Path, default=PEOPLE, help="a folder per person")
    parser.add_argument(
        "queries", nargs="?", type=Path, default=QUERIES, help="photos to ask about"
    )
    parser.add_argument("--output", type=Path, default=Path("reasons"))
    given = parser.parse_args()

    given.output.mkdir(parents=True, exist_ok=True)
    with Identifier(given.output / "people.faceflow") as people:
        report = people.enroll(given.people)
        print(f"{report.added} photos enrolled, {len(report.skipped)} left out")
        for photo, found in people.identify_many(iter_images(given.queries)):
            if isinstance(found, FaceflowError):  # unreadable, or without a face
                print(f"{photo.name}: {found}")
                continue
            for place, face in enumerate(found, start=1):
                print(face)
                face.explain().save(given.output / f"{photo.stem}-{place}.html")


if __name__ == "__main__":
    main()
