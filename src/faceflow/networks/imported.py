"""Networks that users imported from ONNX files: kept in the cache, listed with the others."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflow.errors import WeightsError
from faceflow.networks.spec import MatchDefaults, NetworkSpec, current_names
from faceflow.weights import (
    Licence,
    ModelFile,
    OnnxFile,
    Tensors,
    records,
    store,
)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KIND = "imported"


def specs() -> tuple[NetworkSpec, ...]:
    """The imported networks by name; a record that cannot be read is passed over."""
    found = []
    for name, record in records().items():
        if isinstance(record, dict) and record.get("kind") == _KIND:
            spec = _read(record.get("spec"))
            if spec is not None and spec.name == name:
                found.append(spec)
    return tuple(found)


def model(spec: NetworkSpec) -> ModelFile:
    """The model of an imported network, as the cache sees it."""
    return ModelFile(
        name=spec.name,
        title=spec.title,
        kind="network",
        sources=(spec.source,),
        licence=spec.licence,
        graphs=(spec.name,),
        builder=1,
        build=_not_built,
    )


def save(spec: NetworkSpec, graph: bytes) -> Path:
    """Put an imported network into the cache, in place of one of the same name.

    Args:
        spec: what it is; its source is an :class:`OnnxFile`.
        graph: ONNX bytes as :class:`FaceNetwork` runs them.

    Returns:
        Its folder in the cache.

    Raises:
        WeightsError: the cache cannot be written; it is then as it was.
    """
    record = {"kind": _KIND, "spec": dataclasses.asdict(spec)}
    return store(model(spec), {spec.name: graph}, record=record)


def _read(values: Any) -> NetworkSpec | None:
    """From JSON that :func:`save` wrote; None from any other."""
    try:
        return NetworkSpec(
            **values
            | {
                "source": OnnxFile(**values["source"]),
                "licence": Licence(**values["licence"]),
                "defaults": MatchDefaults(**current_names(values["defaults"])),
                **{name: tuple(values[name]) for name in ("input_size", "mean", "std", "grid")},
            }
        )
    except (KeyError, TypeError, ValueError):
        return None


def _not_built(_: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    raise WeightsError("an imported network is not built from tensors")
