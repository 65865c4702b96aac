"""faceflow: who is this covered face, how sure are we, and which parts of the face say so?

``Identifier`` is the one to start with.

The names below are the everyday ones; the modules hold the rest. They load on first use, so
importing faceflow is quick and starts nothing.
"""

# No import here but of what Python has loaded by now: `python -m faceflow` runs this with the
# working folder first on the module path, before `faceflow.cli.main` takes it off.
import os

__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers, and when it is loaded it writes a session number to
# `.ses` in the temporary folder: in a shared one, through whatever link another user laid there.
# It looks at this when it is loaded, so whoever sets it must come before. A setting of the user's
# stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# OpenBLAS, in NumPy, lets its threads wait in a loop for 2 to the power of this many cycles after
# every product: by default for 17 ms of another core each time. They sleep at once instead, where
# NumPy was not loaded before; a setting of the user's stays.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from faceflow.analyzer import Face, FaceAnalyzer
    from faceflow.calibration import calibrate
    from faceflow.errors import FaceflowError
    from faceflow.explain import explain_pair
    from faceflow.explain.report import Reasons
    from faceflow.features import FaceFeatures
    from faceflow.gallery import Gallery
    from faceflow.identifier import Identifier
    from faceflow.matching.identification import Matches, identify
    from faceflow.matching.options import MatchOptions
    from faceflow.matching.transport import Sinkhorn
    from faceflow.matching.verification import verify
    from faceflow.results import ComparedFaces, FoundFace

_HOME = {
    "ComparedFaces": "faceflow.results",
    "Face": "faceflow.analyzer",
    "FaceAnalyzer": "faceflow.analyzer",
    "FaceFeatures": "faceflow.features",
    "FaceflowError": "faceflow.errors",
    "FoundFace": "faceflow.results",
    "Gallery": "faceflow.gallery",
    "Identifier": "faceflow.identifier",
    "MatchOptions": "faceflow.matching.options",
    "Matches": "faceflow.matching.identification",
    "Reasons": "faceflow.explain.report",
    "Sinkhorn": "faceflow.matching.transport",
    "calibrate": "faceflow.calibration",
    "explain_pair": "faceflow.explain",
    "identify": "faceflow.matching.identification",
    "verify": "faceflow.matching.verification",
}

__all__ = [
    "ComparedFaces",
    "Face",
    "FaceAnalyzer",
    "FaceFeatures",
    "FaceflowError",
    "FoundFace",
    "Gallery",
    "Identifier",
    "MatchOptions",
    "Matches",
    "Reasons",
    "Sinkhorn",
    "calibrate",
    "explain_pair",
    "identify",
    "verify",
]


def __getattr__(name: str) -> "Any":
    if name not in _HOME:
        raise AttributeError(f"module 'faceflow' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
