"""Which patches of any network are covered, learned from a user's own photos with drawn covers."""

from __future__ import annotations

from faceflow.cover_learning.check import Check, Row
from faceflow.cover_learning.cover_fit import HeldOut
from faceflow.cover_learning.learning import Learning, learn

__all__ = ["Check", "HeldOut", "Learning", "Row", "learn"]
