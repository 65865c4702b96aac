"""A service with the network "blocks" in a process of its own: FOLDER PORT_FILE [SLOW]."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import squares

from faceflow.analyzer import FaceAnalyzer
from faceflow.server import serving
from faceflow.server.settings import Limits, ServerSettings


def analyzers(network: str, alignment: str) -> FaceAnalyzer:
    made = squares.analyzer(network, alignment)
    if len(sys.argv) > 3:  # so that a kill finds work under way
        real = made.detector.detect

        def slow(image: object) -> object:
            time.sleep(float(sys.argv[3]))
            return real(image)  # type: ignore[arg-type]

        made.detector.detect = slow  # type: ignore[method-assign,assignment]
    return made


if __name__ == "__main__":
    settings = ServerSettings(
        galleries=Path(sys.argv[1]), port=0, limits=Limits(per_minute=10**6, queue=8)
    )
    listener = serving.listen(settings)
    key = serving.first_key(settings)
    Path(sys.argv[2]).write_text(f"{serving.address(settings, listener)} {key or ''}")
    serving.run(settings, listener, analyzers)
