"""What was learned of a network from a user's photos, kept beside its graph in the cache.

One safetensors file per network digest: weights that were replaced under a name do not find what
was learned of others. The file holds numbers and a JSON record and nothing that could run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from faceflow.arrays import Float32
from faceflow.errors import InputError, WeightsError
from faceflow.networks.description import read_defaults
from faceflow.networks.field_reader import Fields
from faceflow.networks.spec import MatchDefaults, NetworkSpec
from faceflow.system.caches import cache_dir
from faceflow.system.files import atomic_write, read_regular

_LIMIT = 2**28  # bytes; a grid of 16 x 16 with 2,048 channels has 4 MB
_NUMBERS = ("weight", "bias", "mean")


@dataclass(frozen=True, slots=True, eq=False)
class LearnedCovers:
    """Which patches of a network are covered, as a user's photos taught it.

    Attributes:
        weight: (R, C) float32 and
        bias: (R,) float32; see :class:`faceflow.matching.covers.CoverModel`.
        mean: (R, C) float32, the mean raw patch of uncovered faces.
        defaults: the matching options that measured better with it than without; None where
            none did, and the network's own stay.
        report: how it was learned and measured, JSON values.
    """

    weight: Float32
    bias: Float32
    mean: Float32
    defaults: MatchDefaults | None
    report: Mapping[str, Any]


Stamp = tuple[int, int]
"""Changes whenever the file is written."""


def keep(spec: NetworkSpec, learned: LearnedCovers) -> Path:
    """Keep what was learned, in place of what was learned before; whole or not at all.

    Returns:
        The file.

    Raises:
        WeightsError: the cache cannot be written.
    """
    numbers = {name: np.ascontiguousarray(getattr(learned, name)) for name in _NUMBERS}
    record = {
        "digest": spec.digest,
        "sha256": _sum(numbers),
        "defaults": None if learned.defaults is None else dataclasses.asdict(learned.defaults),
        "report": dict(learned.report),
    }
    text = np.frombuffer(json.dumps(record, allow_nan=False).encode(), dtype=np.uint8)
    path = _path(spec)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, shared=True) as file:
            file.write(safetensors.numpy.save({**numbers, "record": text}))
    except OSError as error:
        raise WeightsError(
            f"what was learned of {spec.name} cannot be written to {path}",
            why=error.strerror or str(error),
            todo="make room, or set FACEFLOW_CACHE to a folder that can be written",
        ) from error
    return path


def recall(spec: NetworkSpec) -> LearnedCovers | None:
    """What was learned of a network, or None. The file is read once while it stays as it is.

    Raises:
        WeightsError: the file is damaged.
    """
    found = stamp(spec)
    return None if found is None else _read(_path(spec), found, spec)


def anything(spec: NetworkSpec) -> bool:
    """Whether something was learned of its model, of whatever weights. Opens no file."""
    return any((cache_dir() / "models" / spec.model_name).glob("covers-*.safetensors"))


def stamp(spec: NetworkSpec) -> Stamp | None:
    """What tells one learning from the next; None where nothing was learned. Opens no file."""
    if not spec.source.member_sha256:  # weights that nobody imported yet
        return None
    try:
        found = _path(spec).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def forget(spec: NetworkSpec) -> bool:
    """Drop what was learned; returns whether there was anything.

    Raises:
        WeightsError: the file cannot be removed.
    """
    try:
        _path(spec).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise WeightsError(
            f"{_path(spec)} cannot be removed", why=error.strerror or str(error)
        ) from error
    return True


def _path(spec: NetworkSpec) -> Path:
    name = f"covers-{spec.digest[:16]}.safetensors"
    return cache_dir() / "models" / spec.model_name / name


@lru_cache(maxsize=8)
def _read(path: Path, _: Stamp, spec: NetworkSpec) -> LearnedCovers:
    content = read_regular(path, limit=_LIMIT, kind="file of learned covers", error=WeightsError)
    try:
        tensors = safetensors.numpy.load(content)
        record = json.loads(tensors["record"].tobytes())
        numbers = {name: tensors[name] for name in _NUMBERS}
        _check(numbers, record, spec)
        defaults = record["defaults"]
        known = None if defaults is None else read_defaults(Fields(defaults, str(path)))
        return LearnedCovers(**numbers, defaults=known, report=record["report"])
    except (SafetensorError, InputError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"what was learned of {spec.name} cannot be read from {path}",
            why=str(error) or type(error).__name__,
            todo=f"run `faceflow covers learn PHOTOS/ --network {spec.name}` again, or drop it "
            f"with `faceflow covers forget --network {spec.name}`",
        ) from error


def _check(numbers: Mapping[str, Float32], record: Any, spec: NetworkSpec) -> None:
    r, c = int(np.prod(spec.grid)), spec.channels
    for name, shape in (("weight", (r, c)), ("bias", (r,)), ("mean", (r, c))):
        values = numbers[name]
        if values.shape != shape or values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(f"{name} is not {shape} finite float32")
    if record["digest"] != spec.digest:
        raise ValueError("it was learned of other weights")
    if record["sha256"] != _sum(numbers):
        raise ValueError("the numbers are not those that were written")
    if not isinstance(record["report"], dict):
        raise ValueError("there is no report")


def _sum(numbers: Mapping[str, Float32]) -> str:
    return hashlib.sha256(b"".join(numbers[name].tobytes() for name in _NUMBERS)).hexdigest()
