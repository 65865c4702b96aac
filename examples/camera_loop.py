"""Frames in memory, one after another, as a camera gives them: who is in each?

python examples/camera_loop.py [VIDEO.mp4] [--people PEOPLE/]

Without a video the demo's covered photos are the frames. Frames are RGB arrays; OpenCV gives
BGR, so its channels are turned round.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from faceflow import FaceflowError, Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.faces.images import iter_images, load_image


def frames(video: Path | None) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 RGB."""
    if video is None:
        yield from map(load_image, iter_images(QUERIES))
        return
    capture = cv2.VideoCapture(str(video))
    while (read := capture.read())[0]:
        yield np.ascontiguousarray(read[1][..., ::-1])
    capture.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--people", type=Path, default=PEOPLE, help="a folder per person")
    given = parser.parse_args()

    with (
        tempfile.TemporaryDirectory() as folder,
        Identifier(Path(folder) / "people.faceflow", threshold=0.6, threads=1) as people,
    ):
        people.enroll(given.people)
        # Frames are taken as they come; a few are in memory at a time.
        for number, (_, found) in enumerate(people.identify_many(frames(given.video)), start=1):
            if isinstance(found, FaceflowError):
                print(f"frame {number}: nobody")
            else:
                print(f"frame {number}: {', '.join(face.person or 'unknown' for face in found)}")


if __name__ == "__main__":
    main()
