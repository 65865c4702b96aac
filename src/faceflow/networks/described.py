"""Networks of the user's, imported or trained here: kept in the cache with their description."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflow.errors import InputError, WeightsError
from faceflow.networks.description import read_spec
from faceflow.networks.spec import NetworkSpec, model_file
from faceflow.weights import ModelFile, Tensors, record, records, store

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KINDS = ("imported", "trained")  # what the records of either were marked with, ever since


def check_name(name: str) -> None:
    """Raise :class:`InputError` unless ``name`` can be a network's: it becomes a folder."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a network's name",
            todo="use small letters, digits, points, dashes and underscores, 64 at most, "
            "beginning with a letter or digit",
        )


def find(name: str) -> NetworkSpec | None:
    """The network kept as ``name``; None where there is none, or its record cannot be read.

    Reads one small file at most.
    """
    return _read(name, record(name)) if _NAME.fullmatch(name) else None


def every() -> tuple[NetworkSpec, ...]:
    """All that are kept, by name; records that cannot be read are left out."""
    found = (_read(name, kept) for name, kept in records().items())
    return tuple(spec for spec in found if spec is not None)


def model(spec: NetworkSpec) -> ModelFile:
    """Such a network as the model registry sees it: exactly the graph its spec names."""
    return model_file(spec, _not_built)


def save(spec: NetworkSpec, graph: bytes) -> Path:
    """Keep a network, in place of one of the same name.

    Args:
        spec: what it is; its source is an :class:`OnnxFile` or :class:`TrainedHere`.
        graph: ONNX bytes as :class:`FaceNetwork` runs them.

    Returns:
        Its folder in the cache.

    Raises:
        InputError: the name cannot be used, or the description is none that could be read again.
        WeightsError: the cache cannot be written; it is then as it was.
    """
    check_name(spec.name)
    values = dataclasses.asdict(spec)
    read_spec(_as_lists(values), f"the description of {spec.name}")
    kind = "imported" if "file_name" in values["source"] else "trained"
    return store(model(spec), {spec.name: graph}, record={"kind": kind, "spec": values})


def _read(name: str, kept: Any) -> NetworkSpec | None:
    if not isinstance(kept, dict) or kept.get("kind") not in _KINDS:
        return None
    values = kept.get("spec")
    if not isinstance(values, dict):
        return None
    try:
        spec = read_spec(values, name)
    except InputError:
        return None
    return spec if spec.name == name else None


def _as_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def _not_built(_: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    raise WeightsError("a network of the user's is kept as a graph and not built from tensors")
