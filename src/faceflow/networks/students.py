"""A student in one file: what it learned, without its teacher, to be carried to another machine.

A safetensors file holds those constants of the student's graph that are not its teacher's, and a
JSON record that names the teacher. It is read without running anything; the graph is built anew
from the teacher in the cache, and must come out with the sum that the record gives.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from faceflow import networks
from faceflow.arrays import Floats
from faceflow.errors import InputError, WeightsError
from faceflow.networks import described
from faceflow.networks.spec import UNCALIBRATED, NetworkSpec
from faceflow.system.files import atomic_write, read_regular
from faceflow.weights import TrainedHere
from faceflow.weights.download import download

LIMIT = 2**29
"""Bytes of a file at most."""
WEIGHT, BIAS = "fc.weight", "fc.bias"
_RECORD, _FORMAT = "record", "faceflow student 1"
_SCHEMES = ("http://", "https://")


def make_spec(
    name: str, teacher: NetworkSpec, graph: bytes, *, layer: bool, trained_on: str
) -> NetworkSpec:
    """What a student is.

    Args:
        name: what users type.
        teacher: the network it learned from.
        graph: its ONNX bytes.
        layer: whether its last layer alone was trained, so that raw patches are the teacher's.
        trained_on: for people to read.
    """
    source = teacher.source
    kept = source.patches if isinstance(source, TrainedHere) and source.patches else teacher.digest
    root = source.upstream if isinstance(source, TrainedHere) else teacher.name
    patches = kept if layer else ""
    return replace(
        teacher,
        name=name,
        model="",
        title=f"a student of {teacher.name}, for queries",
        teacher=teacher.digest,
        # A student is compared as its teacher is; these serve where two of its faces are.
        defaults=teacher.defaults if patches else UNCALIBRATED,
        source=TrainedHere(hashlib.sha256(graph).hexdigest(), len(graph), root, patches),
        licence=replace(
            teacher.licence,
            training_data=f"{teacher.licence.training_data}; then, as a student, {trained_on}",
        ),
    )


def with_layer(graph: bytes, weight: Floats, bias: Floats) -> bytes:
    """A graph with one linear layer on its flattened patches as the embedding.

    Whatever made the embedding before is left out: an imported network may have made it of the
    patches in other words.

    Args:
        graph: as :class:`faceflow.networks.FaceNetwork` runs them.
        weight: (D, C * h * w), channels first.
        bias: (D,).
    """
    import onnx
    import onnx.utils
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    outputs = {value.name: value for value in model.graph.output}
    image = model.graph.input[0].name
    piece = onnx.utils.Extractor(model).extract_model([image], ["patches"])
    constants = {WEIGHT: weight, BIAS: bias}
    made = helper.make_graph(
        [
            *piece.graph.node,
            helper.make_node("Flatten", ["patches"], ["student/flat"], axis=1),
            helper.make_node("Gemm", ["student/flat", WEIGHT, BIAS], ["embedding"], transB=1),
        ],
        model.graph.name,
        list(model.graph.input),
        [outputs["embedding"], outputs["patches"]],
        [
            *(t for t in piece.graph.initializer if t.name not in constants),
            *(
                numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name)
                for name, value in constants.items()
            ),
        ],
    )
    whole = helper.make_model(
        made,
        producer_name=model.producer_name,
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
    )
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString(deterministic=True))


def export_student(name: str, file: Path) -> str:
    """Write a student to a file.

    Returns:
        Hex sha256 of the file, for those who will fetch it.

    Raises:
        InputError: it is no student.
        WeightsError: its graph or its teacher's is not in the cache, or the file cannot be written.
    """
    spec = networks.spec(name)
    teacher = _teacher(spec.teacher, name)
    graph = networks.graph(name)
    own, theirs = _constants(graph), _constants(networks.graph(teacher.name))
    layer = isinstance(spec.source, TrainedHere) and bool(spec.source.patches)
    learned = {
        key: value
        for key, value in own.items()
        if (key in (WEIGHT, BIAS) if layer else not _same(value, theirs.get(key)))
    }
    record = {
        "format": _FORMAT,
        "teacher": spec.teacher,
        "teacher_name": teacher.name,
        "layer": layer,
        "graph": hashlib.sha256(graph).hexdigest(),
        "trained_on": spec.licence.training_data.rpartition("; then, as a student, ")[2],
    }
    content = safetensors.numpy.save(
        learned | {_RECORD: np.frombuffer(json.dumps(record).encode(), np.uint8)}
    )
    try:
        with atomic_write(file) as out:
            out.write(content)
    except OSError as error:
        raise WeightsError(f"{file} cannot be written", why=error.strerror or str(error)) from error
    return hashlib.sha256(content).hexdigest()


def import_student(
    name: str,
    place: str,
    *,
    sha256: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> NetworkSpec:
    """Take a student from a file, or fetch it.

    Args:
        name: what it will be called; one of that name is replaced.
        place: a file, or an http(s) address.
        sha256: of the file; nothing else is taken. An address needs it.
        progress: told what happens.

    Raises:
        InputError: the name is not possible, or an address came without a sum.
        WeightsError: it is another file, no student, a student of a network that is not here, or
            the cache cannot be written.
    """
    networks.require_new_name(name)
    if place.startswith(_SCHEMES):
        if sha256 is None:
            raise InputError(
                f"{place} is fetched only with the sum that its file must have",
                todo="give --sha256, as whoever made the student tells it",
            )
        content = _fetch(place, sha256, progress)
    else:
        content = read_regular(Path(place), limit=LIMIT, kind="student", error=WeightsError)
        _require_sum(place, content, sha256)
    learned, record = _read(place, content)
    teacher = _teacher(record["teacher"], place, record["teacher_name"])
    graph = _rebuilt(place, teacher, learned, layer=record["layer"])
    if hashlib.sha256(graph).hexdigest() != record["graph"]:
        raise WeightsError(
            f"what comes of {place} is not what was trained",
            why="its record gives another sum; it was made by another version of faceflow, or "
            "changed",
            todo="train it again, or ask whoever made it",
        )
    spec = make_spec(name, teacher, graph, layer=record["layer"], trained_on=record["trained_on"])
    described.save(spec, graph)
    return spec


def _fetch(url: str, sha256: str, progress: Callable[[str], None] | None) -> bytes:
    with tempfile.TemporaryDirectory(prefix="faceflow-") as folder:
        file = Path(folder, "student.safetensors")
        found = download(url, file, limit=LIMIT, progress=progress)
        content = file.read_bytes()
    if found != sha256.lower():
        raise _other_sum(url, found, sha256)
    return content


def _require_sum(place: str, content: bytes, sha256: str | None) -> None:
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise _other_sum(place, found, sha256)


def _other_sum(place: str, found: str, wanted: str) -> WeightsError:
    return WeightsError(
        f"{place} is not the file that was meant",
        why=f"its sha256 is {found}, not {wanted}",
        todo="do not use it; ask whoever made the student",
    )


def _read(place: str, content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    try:
        learned: dict[str, NDArray[Any]] = safetensors.numpy.load(content)
        record = json.loads(learned.pop(_RECORD).tobytes())
        if record["format"] != _FORMAT:
            raise ValueError(f"its format is {record['format']!r}")
        texts = ("teacher", "teacher_name", "graph", "trained_on")
        if not all(isinstance(record[key], str) and len(record[key]) < 10_000 for key in texts):
            raise ValueError("its record is no student's")
        if not isinstance(record["layer"], bool):
            raise ValueError("its record is no student's")
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{place} is no student", why=str(error) or type(error).__name__
        ) from error
    return learned, record


def _teacher(digest: str, what: str, name: str = "") -> NetworkSpec:
    """The network of that digest, which must be in the cache."""
    if not digest:
        raise InputError(f"{what} is no student", todo="train one: faceflow train covers")
    for spec in networks.available():
        if spec.source.member_sha256 and spec.digest == digest:
            return spec
    called = f"{name}, " if name else ""
    raise WeightsError(
        f"the teacher of {what} is not here ({called}digest {digest[:12]})",
        why="a student is kept without what it has from its teacher",
        todo="import or train that very network first",
    )


def _rebuilt(
    place: str, teacher: NetworkSpec, learned: Mapping[str, NDArray[Any]], *, layer: bool
) -> bytes:
    graph = networks.graph(teacher.name)
    if layer:
        d, size = teacher.embedding_size, teacher.channels * int(np.prod(teacher.grid))
        shapes = {WEIGHT: (d, size), BIAS: (d,)}
    else:
        shapes = {name: value.shape for name, value in _constants(graph).items()}
    for name, value in learned.items():
        wanted = shapes.get(name)
        if value.shape != wanted or value.dtype != np.float32 or not np.isfinite(value).all():
            raise WeightsError(
                f"{place} does not fit its teacher",
                why=f"{name[:80]} is {value.shape} of {value.dtype}; finite float32 of {wanted} is "
                "needed",
            )
    if not layer:
        return replace_constants(graph, learned)
    if learned.keys() != shapes.keys():
        raise WeightsError(f"{place} does not fit its teacher", why="it holds no whole layer")
    return with_layer(graph, learned[WEIGHT], learned[BIAS])


def _same(one: NDArray[Any], other: NDArray[Any] | None) -> bool:
    return other is not None and np.array_equal(one, other)


def _constants(graph: bytes) -> dict[str, NDArray[Any]]:
    import onnx

    return {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(graph).graph.initializer
    }


def replace_constants(graph: bytes, tensors: Mapping[str, Floats]) -> bytes:
    """The graph with some of its constants exchanged."""
    import onnx

    model = onnx.load_from_string(graph)
    for tensor in model.graph.initializer:
        if tensor.name in tensors:
            new = np.ascontiguousarray(tensors[tensor.name], np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
