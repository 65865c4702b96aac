"""Networks trained on this machine: kept beside the pulled ones and used by name like them."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from faceflow.errors import InputError, WeightsError
from faceflow.networks.spec import UNCALIBRATED, MatchDefaults, NetworkSpec, current_names
from faceflow.weights import Licence, ModelFile, Tensors, TrainedHere, records, store

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KIND = "trained"


def check_name(name: str) -> None:
    """Raise :class:`InputError` unless ``name`` can be a network's: it becomes a folder."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot be a network's name",
            todo="use small letters, digits, points, dashes and underscores, 64 at most, "
            "beginning with a letter or digit",
        )


def save(
    name: str, base: NetworkSpec, graph: bytes, *, trained_on: str, same_patches: bool = False
) -> NetworkSpec:
    """Put a fine-tuned network into the cache, replacing one of the same name.

    Args:
        name: what users will type.
        base: the network it was trained from; its preprocessing and sizes are taken over, and
            its matching defaults (measured on ``base``, not on this network) unless they need a
            patch model.
        graph: its ONNX bytes.
        trained_on: the photos, for people to read.
        same_patches: whether only the last layer was trained, so that raw patches are the
            base's to the last bit and what is known of them holds.

    Returns:
        The new network's spec; its digest differs from the base's.

    Raises:
        InputError: the name cannot be used.
        WeightsError: the cache cannot be written.
    """
    check_name(name)
    trained = base.source if isinstance(base.source, TrainedHere) else None
    patches = (base.digest if trained is None else trained.patches) if same_patches else ""
    plain = base.defaults.patches == "raw" and base.defaults.visible_share == 0
    plain = plain and base.defaults.weighting != "uncovered"
    # Without the base's patches nobody knows what covers look like to the network.
    defaults = base.defaults if plain or patches else UNCALIBRATED
    root = base.name if trained is None else trained.upstream
    spec = replace(
        base,
        name=name,
        model="",  # its graph is its own also where the base runs another model's
        defaults=defaults,
        title=f"{root}, fine-tuned on this machine",
        source=TrainedHere(hashlib.sha256(graph).hexdigest(), len(graph), root, patches),
        licence=replace(
            base.licence,
            training_data=f"{base.licence.training_data}; then, on this machine, {trained_on}",
        ),
    )
    store(model(spec), {name: graph}, record={"kind": _KIND, "spec": dataclasses.asdict(spec)})
    return spec


def specs() -> dict[str, NetworkSpec]:
    """The networks trained here, by name; records that cannot be read are left out."""
    found = {}
    for name, record in records().items():
        if isinstance(record, dict) and record.get("kind") == _KIND:
            spec = _read(record.get("spec"))
            if spec is not None and spec.name == name:
                found[name] = spec
    return found


def model(spec: NetworkSpec) -> ModelFile:
    """A trained network as the model registry sees it: exactly the graph the spec names."""

    def build(_: Mapping[str, Tensors]) -> Mapping[str, bytes]:
        raise WeightsError(f"{spec.name} was trained on this machine and cannot be built")

    return ModelFile(
        name=spec.name,
        title=spec.title,
        kind="network",
        sources=(spec.source,),
        licence=spec.licence,
        graphs=(spec.name,),
        builder=1,
        build=build,
    )


def _read(values: Any) -> NetworkSpec | None:
    try:
        return NetworkSpec(
            **values
            | {
                "source": TrainedHere(**values["source"]),
                "licence": Licence(**values["licence"]),
                "defaults": MatchDefaults(**current_names(values["defaults"])),
                "input_size": _pair(values["input_size"]),
                "grid": _pair(values["grid"]),
                "mean": tuple(map(float, values["mean"])),
                "std": tuple(map(float, values["std"])),
            }
        )
    except (TypeError, KeyError, ValueError):
        return None


def _pair(values: Any) -> tuple[int, int]:
    first, second = values
    return int(first), int(second)
