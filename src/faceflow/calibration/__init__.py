"""Alpha, weighting, k and the unknown-threshold from a user's own photos, honestly measured."""

from __future__ import annotations

from faceflow.calibration.calibrating import COVERS, calibrate, conclude, impostors_needed
from faceflow.calibration.evidence import Evidence, Setting, settings_grid
from faceflow.calibration.keeping import forget, recall, remember
from faceflow.calibration.result import CalibrationResult, Origin, Rates, Stratum

__all__ = [
    "COVERS",
    "CalibrationResult",
    "Evidence",
    "Origin",
    "Rates",
    "Setting",
    "Stratum",
    "calibrate",
    "conclude",
    "forget",
    "impostors_needed",
    "recall",
    "remember",
    "settings_grid",
]
