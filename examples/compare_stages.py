"""What re-ranking changes: the best person by cosine alone, and after comparing patches.

python examples/compare_stages.py [PEOPLE/ QUERIES/]
"""

import argparse
import tempfile
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
    given = parser.parse_args()

    with (
        tempfile.TemporaryDirectory() as folder,
        Identifier(Path(folder) / "people.faceflow") as people,
    ):
        people.enroll(given.people)
        if len(people.people) < 2:
            raise SystemExit("give at least two people to tell apart")
        print(f"{'photo':24}  {'by cosine':>16}  {'after patches':>16}  lead by cosine -> after")
        for photo, found in people.identify_many(iter_images(given.queries), select="largest"):
            if isinstance(found, FaceflowError):
                continue
            matches = found[0].people
            first = min(matches, key=lambda match: match.stage1_rank)
            cosines = sorted((match.cosine for match in matches), reverse=True)
            lead = cosines[0] - cosines[1], matches[0].score - matches[1].score
            print(
                f"{photo.name:24}  {first.person:>16}  {matches[0].person:>16}  "
                f"{lead[0]:.3f} -> {lead[1]:.3f}"
            )


if __name__ == "__main__":
    main()
