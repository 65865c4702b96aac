"""Networks exported for exactly n pictures give each face what the original gives it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from faceflow import networks
from faceflow.errors import WeightsError
from faceflow.networks import MatchDefaults
from faceflow.networks.foreign import Inspection, OnnxDescription, import_network, inspect
from faceflow.weights import Licence

Build = Callable[..., Path]
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "networks"


def described(found: Inspection) -> OnnxDescription:
    return OnnxDescription(
        title="A small one",
        input_size=found.input_size,
        colour="rgb",
        mean=(127.5, 127.5, 127.5),
        std=(128.0, 128.0, 128.0),
        template="arcface-112",
        licence=Licence("not stated", "ours", "none, noise", "made for a test"),
        defaults=MatchDefaults(0.1, "uniform", 100),
        embedding=found.embeddings[0][0],
        patches=found.patches[0].tensor,
    )


def originals(file: Path, images: np.ndarray, batch: int) -> np.ndarray:
    """The original's embedding of each picture, in a batch of different others each time."""
    session = onnxruntime.InferenceSession(file.read_bytes())
    name = session.get_inputs()[0].name
    rows = []
    for n in range(len(images)):
        others = np.roll(images, -n, axis=0)[:batch]
        rows.append(session.run(None, {name: others})[0][0].ravel())
    return np.stack(rows)


@pytest.mark.parametrize(
    ("kind", "options", "freed"),
    [
        ("flatten_gemm", {"batch": 2}, True),
        ("mobile", {"batch": 2}, True),
        ("mobile", {"batch": 4, "flat": False}, True),
        ("one_at_a_time", {"batch": 2, "shape": (2, 16 * 49)}, True),
        ("one_at_a_time", {"batch": 3, "shape": (3, -1)}, True),
        ("one_at_a_time", {"batch": 2, "shape": (-1, 16 * 49)}, True),
        ("rows_of_two", {}, False),
    ],
)
def test_a_fixed_batch(
    make: Build, cache: Path, kind: str, options: dict[str, Any], freed: bool
) -> None:
    file = make(kind, **options)
    batch = options.get("batch", 2)
    found = inspect(file)
    assert (found.freed, found.batch) == (freed, None if freed else batch)
    assert found.inputs[0][1][0] == batch  # as the file says
    spec = import_network("mine", file, described(found))
    network = networks.load_network("mine", threads=1)
    crops = np.random.default_rng(3).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    expected = originals(file, network.scale(crops), batch)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    for size in (1, batch, 5, 8):
        features = network.embed(crops, batch_size=size)
        np.testing.assert_allclose(features.embedding, expected, atol=1e-5)
        assert features.grid == spec.grid
    weight, bias = network.last_layer if kind != "rows_of_two" else (None, None)
    if weight is not None:
        embedding, maps = network.run(network.scale(crops))
        raw = maps.reshape(5, spec.channels, -1).transpose(0, 2, 1)
        computed = np.einsum("drc,nrc->nd", weight.astype(np.float64), raw) + bias
        np.testing.assert_allclose(computed, embedding, atol=1e-4 * np.abs(embedding).max())


def test_the_digest_is_the_files(make: Build, cache: Path) -> None:
    """Made free or not, the network is what the file holds: equal files, equal digests."""
    file = make("flatten_gemm", batch=2)
    first = import_network("mine", file, described(inspect(file)))
    again = import_network("other", file, described(inspect(file)))
    assert first.digest == again.digest


def test_pictures_that_are_mixed_are_of_no_use(make: Build) -> None:
    with pytest.raises(WeightsError, match="takes 2 pictures at a time and mixes them"):
        inspect(make("mixing"))


def test_a_shared_shape_constant_keeps_its_other_readers(tmp_path: Path, make: Build) -> None:
    file = make("one_at_a_time", batch=2, shape=(2, 16 * 49))
    model = onnx.load(str(file))
    cast = onnx.helper.make_node("Cast", ["shape"], ["as_float"], to=onnx.TensorProto.FLOAT)
    total = onnx.helper.make_node("ReduceSum", ["as_float"], ["total"], keepdims=1)
    added = onnx.helper.make_node("Add", ["y_", "total"], ["y"])
    model.graph.node[-1].output[0] = "y_"
    model.graph.node.extend([cast, total, added])
    file.write_bytes(model.SerializeToString())
    assert inspect(file).freed, "its sum must still be 2 + 784"


@pytest.fixture
def mobilefacenet() -> Path:
    file = SHARED / "mobilefacenet.onnx"
    if not file.is_file():
        pytest.skip("the reference data are not at hand")
    return file


def test_a_real_network_fixed_at_two(
    mobilefacenet: Path, tmp_path: Path, cache: Path, apart: None
) -> None:
    """As its converter wrote it, before somebody freed it by hand; in the child process itself."""
    model = onnx.load(str(mobilefacenet))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_value = 2
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            sizes = numpy_helper.to_array(tensor).copy()
            sizes[0] = 2
            tensor.CopyFrom(numpy_helper.from_array(sizes, tensor.name))
    fixed = tmp_path / "fixed.onnx"
    fixed.write_bytes(model.SerializeToString())
    found = inspect(fixed)
    assert (found.freed, found.embeddings) == (True, (("embeddings", 192),))
    assert (found.patches[0].grid, found.patches[0].channels) == ((7, 7), 512)
    assert found.patches[0].linear is True
    as_it_is = import_network("free", mobilefacenet, described(inspect(mobilefacenet)))
    import_network("fixed", fixed, described(found))
    crops = np.random.default_rng(4).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    first, second = (networks.load_network(name, threads=1) for name in ("free", "fixed"))
    expected = first.embed(crops)
    np.testing.assert_allclose(second.embed(crops).embedding, expected.embedding, atol=1e-5)
    assert (as_it_is.grid, as_it_is.channels, as_it_is.embedding_size) == ((7, 7), 512, 192)
    # A second way: the file itself, channels last, scaled as its card says.
    direct = onnxruntime.InferenceSession(mobilefacenet.read_bytes()).run(
        None, {"input": (crops.astype(np.float32) - 127.5) / 128}
    )[0]
    direct = direct / np.linalg.norm(direct, axis=1, keepdims=True)
    np.testing.assert_allclose(expected.embedding, direct, atol=1e-5)
