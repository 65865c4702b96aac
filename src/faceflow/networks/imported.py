"""Networks that users imported from ONNX files: kept in the cache, listed with the others."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflow.errors import WeightsError
from faceflow.networks.spec import MatchDefaults, NetworkSpec
from faceflow.weights import (
    Licence,
    ModelFile,
    OnnxFile,
    Tensors,
    atomic_write,
    cache_dir,
    path,
    store,
)

SPEC_FILE = "network.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def specs() -> tuple[NetworkSpec, ...]:
    """The imported networks by name; a description that cannot be read is passed over."""
    found = []
    for file in sorted((cache_dir() / "models").glob(f"*/{SPEC_FILE}")):
        try:
            spec = _read(json.loads(file.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if spec.name == file.parent.name:
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
        WeightsError: the cache cannot be written.
    """
    one = model(spec)
    folder = store(one, {spec.name: graph})
    try:
        # Last: a network is there once its description is. Until then an older description
        # does not fit the new graph, which says so and never runs.
        with atomic_write(folder / SPEC_FILE) as file:
            file.write(json.dumps(dataclasses.asdict(spec), indent=2).encode())
    except OSError as error:
        raise WeightsError(
            f"{spec.name} cannot be written to {path(one)}", why=error.strerror or str(error)
        ) from error
    return folder


def _read(values: dict[str, Any]) -> NetworkSpec:
    """From JSON that :func:`save` wrote."""
    return NetworkSpec(
        **values
        | {
            "source": OnnxFile(**values["source"]),
            "licence": Licence(**values["licence"]),
            "defaults": MatchDefaults(**values["defaults"]),
            **{name: tuple(values[name]) for name in ("input_size", "mean", "std", "grid")},
        }
    )


def _not_built(_: Mapping[str, Tensors]) -> Mapping[str, bytes]:
    raise WeightsError("an imported network is not built from tensors")
