"""All readers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceflow.errors import InputError
from faceflow.evaluation.data import (
    agedb,
    calfw,
    cfp,
    cplfw,
    folders,
    insightface_bin,
    lfw,
    mlfw,
    rmfrd,
    rof,
    talfw,
)
from faceflow.evaluation.data.dataset import Dataset
from faceflow.evaluation.data.layout import Origin


@dataclass(frozen=True, slots=True)
class Family:
    """A reader: its name here, the data set's title and place, and the function."""

    name: str
    origin: Origin
    reader: Callable[..., Dataset]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options the reader takes."""
        return tuple(inspect.signature(self.reader).parameters)[1:]


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("folder", folders.ORIGIN, folders.read_folders),
        Family("lfw", lfw.ORIGIN, lfw.read_lfw),
        Family("calfw", calfw.ORIGIN, calfw.read_calfw),
        Family("cplfw", cplfw.ORIGIN, cplfw.read_cplfw),
        Family("agedb", agedb.ORIGIN, agedb.read_agedb),
        Family("cfp", cfp.ORIGIN, cfp.read_cfp),
        Family("talfw", talfw.ORIGIN, talfw.read_talfw),
        Family("mlfw", mlfw.ORIGIN, mlfw.read_mlfw),
        Family("rof", rof.ORIGIN, rof.read_rof),
        Family("rmfrd", rmfrd.ORIGIN, rmfrd.read_rmfrd),
        Family("bin", insightface_bin.ORIGIN, insightface_bin.read_bin),
    )
}


def read(name: str, root: str | Path, **options: Any) -> Dataset:
    """Read a data set in its original layout.

    Args:
        name: a name from :data:`FAMILIES`.
        root: the data set's folder (for "bin" its file).
        options: what that reader takes besides: ``pairs``, ``listing``, ``protocol``, ...

    Raises:
        InputError: an unknown name or option (the message lists the known), or what the reader
            raises.
    """
    family = FAMILIES.get(name)
    if family is None:
        raise InputError(
            f"there is no data set reader {name!r}", todo=f"choose one of {', '.join(FAMILIES)}"
        )
    unknown = sorted(options.keys() - set(family.options))
    if unknown:
        raise InputError(
            f"the {name} reader has no option {', '.join(unknown)}",
            todo=f"it takes {', '.join(family.options) or 'none'}",
        )
    return family.reader(Path(root), **options)
