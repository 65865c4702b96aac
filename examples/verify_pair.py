"""Do two photos show one person, and which parts of the face say so?

python examples/verify_pair.py [A.jpg B.jpg] [--threshold 0.4] [--output why.png]
"""

import argparse
from pathlib import Path

from faceflow import Identifier
from faceflow.demo import PEOPLE, QUERIES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", nargs="?", type=Path, default=QUERIES / "Ada-mask.jpg")
    parser.add_argument("b", nargs="?", type=Path, default=PEOPLE / "Ada" / "Ada_0001.jpg")
    parser.add_argument("--threshold", type=float, help="the least score that counts as the same")
    parser.add_argument("--output", type=Path, default=Path("why.png"), help=".png, .html or .json")
    given = parser.parse_args()

    # The gallery is never made: comparing two photos needs nobody enrolled.
    with Identifier("unused.faceflow") as people:
        pair = people.verify(given.a, given.b, threshold=given.threshold)
        print(pair)
        print(f"cosine {pair.cosine:.3f}, EMD similarity {pair.emd:.3f}")
        print(f"written: {pair.explain().save(given.output)}")


if __name__ == "__main__":
    main()
