"""Cross-Age LFW: pairs of one person at different ages (arXiv 1708.08197)."""

from __future__ import annotations

import re
from pathlib import Path

from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin, by_file_name, photos_by_name
from faceflow.evaluation.data.lists import read_two_line_pairs, resolve

ORIGIN = Origin("CALFW", "http://www.whdeng.cn/CALFW")
RULE = re.compile(r"(?P<person>.+)_\d{4}")
FOLDERS = ("aligned images", "images")


def read_calfw(root: Path, *, pairs: Path | None = None, images: str | None = None) -> Dataset:
    """Read ``root/aligned images/NAME_0001.jpg`` and ``root/pairs_CALFW.txt``.

    Args:
        root: the unpacked archive, or a folder that holds it as ``calfw``.
        pairs: the pair list; None takes ``pairs_CALFW.txt`` in the folder.
        images: the folder of photos; None takes "aligned images", else "images".

    Raises:
        InputError: a folder or the list is missing, or the list is malformed.
    """
    return read_flat(
        root, ORIGIN, RULE, nested=("calfw", "CALFW"), list_name="pairs_CALFW.txt", pairs=pairs,
        images=images,
    )  # fmt: skip


def read_flat(
    root: Path,
    origin: Origin,
    rule: re.Pattern[str],
    *,
    nested: tuple[str, ...],
    list_name: str,
    pairs: Path | None,
    images: str | None,
) -> Dataset:
    """Read a set of CALFW's kind: all photos in one folder, pairs on two lines each."""
    base = origin.folder(root, nested)
    folder = origin.folder(base / images) if images else origin.folder(base, FOLDERS)
    photos, left_out = photos_by_name(folder, origin.title.lower(), rule, known=[base / list_name])
    named = read_two_line_pairs(origin.file(pairs or base / list_name))
    resolved, missing = resolve(named, by_file_name(photos, origin.title), folder)
    return Dataset(origin.title, root, tuple(photos), (*left_out, *missing), tuple(resolved))
