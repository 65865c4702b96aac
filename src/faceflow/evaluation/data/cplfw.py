"""Cross-Pose LFW: pairs of one person in different poses."""

from __future__ import annotations

import re
from pathlib import Path

from faceflow.evaluation.data.calfw import read_flat
from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin

ORIGIN = Origin("CPLFW", "http://www.whdeng.cn/CPLFW")
RULE = re.compile(r"(?P<person>.+)_\d{1,4}")


def read_cplfw(root: Path, *, pairs: Path | None = None, images: str | None = None) -> Dataset:
    """Read ``root/aligned images/NAME_1.jpg`` and ``root/pairs_CPLFW.txt``.

    The archive holds four photos with malformed names, which no pair uses; they are left out.

    Args:
        root: the unpacked archive, or a folder that holds it as ``cplfw``.
        pairs: the pair list; None takes ``pairs_CPLFW.txt`` in the folder.
        images: the folder of photos; None takes "aligned images", else "images".

    Raises:
        InputError: a folder or the list is missing, or the list is malformed.
    """
    return read_flat(
        root, ORIGIN, RULE, nested=("cplfw", "CPLFW"), list_name="pairs_CPLFW.txt", pairs=pairs,
        images=images,
    )  # fmt: skip
