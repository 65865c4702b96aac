"""TALFW: LFW photos changed by a transferable adversarial attack (DFANet, arXiv 2004.05790)."""

from __future__ import annotations

from pathlib import Path

from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin
from faceflow.evaluation.data.lfw import read_lfw_like

ORIGIN = Origin("TALFW", "http://www.whdeng.cn/TALFW (the attack: arXiv 2004.05790)")


def read_talfw(root: Path, *, pairs: Path | None = None, listing: Path | None = None) -> Dataset:
    """Read TALFW: LFW's file names, in a folder per person or in one folder.

    Each photo is a pixel edit of the LFW photo of the same name and carries its source id.
    TALFW has no pair list of its own; give LFW's as ``pairs``.

    Raises:
        InputError: as :func:`faceflow.evaluation.data.lfw.read_lfw`.
    """
    return read_lfw_like(root, ORIGIN, pairs=pairs, listing=listing)
