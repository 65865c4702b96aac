"""A service with the network "blocks" in a process of its own: one word of JSON says how."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import squares

from faceflow.analyzer import FaceAnalyzer
from faceflow.server import serving
from faceflow.server.settings import Limits, ServerSettings

SLOW = "SQUARES_SECONDS"
"""Environment: seconds a photo takes, so that a kill finds work under way."""


def analyzers(network: str, detector: str) -> FaceAnalyzer:
    made = squares.analyzer(network, detector)
    seconds = float(os.environ.get(SLOW, "0"))
    if seconds:
        real = made.detector.detect

        def slow(image: object) -> object:
            time.sleep(seconds)
            return real(image)  # type: ignore[arg-type]

        made.detector.detect = slow  # type: ignore[method-assign,assignment]
    return made


def main() -> None:
    told = json.loads(sys.argv[1])
    note = Path(told.pop("note"))
    limits = Limits(**({"per_minute": 10**6, "queue": 8} | told.pop("limits")))
    paths = {name: Path(told.pop(name)) for name in ("galleries", "state") if told.get(name)}
    settings = ServerSettings(**paths, port=0, limits=limits, **told)
    listener = serving.listen(settings)
    key = serving.first_key(settings)
    note.write_text(f"{serving.address(settings, listener)} {key or ''}")
    serving.run(settings, listener, analyzers)


if __name__ == "__main__":
    # Under its own name, so that workers find what they are given.
    import serve_squares

    serve_squares.main()
