"""What is found inside small networks whose inside is known."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceflow.errors import WeightsError
from faceflow.networks.foreign import inspect, propose

Build = Callable[..., Path]


@pytest.mark.parametrize("batch", ["N", 1])
def test_flatten_and_gemm(make: Build, batch: object) -> None:
    found = inspect(make("flatten_gemm", batch=batch))
    assert found.inputs == (("input.1", (batch, 3, 112, 112)),)
    assert found.embeddings == (("features", 32),)
    assert found.batch == (1 if batch == 1 else None)
    assert (found.input_size, found.input_channels, found.input_layout) == ((112, 112), 3, "nchw")
    best = found.patches[0]
    assert (best.tensor, best.grid, best.channels, best.layout) == ("bn2", (7, 7), 16, "nchw")
    assert best.between == ("Flatten", "Gemm", "BatchNormalization")
    assert best.linear is True
    assert [p.grid for p in found.patches] == [(7, 7), (14, 14)]
    assert found.patches[1].linear is False  # a ReLU lies between


@pytest.mark.parametrize("flat", [True, False])
def test_global_depthwise_convolution(make: Build, flat: bool) -> None:
    found = inspect(make("mobile", flat=flat))
    assert found.embeddings == (("embedding" if flat else "linear", 32),)
    assert (found.patches[0].tensor, found.patches[0].grid) == ("maps", (7, 7))
    assert found.patches[0].between[:2] == ("Conv", "Conv")
    assert found.patches[0].linear is True


def test_initialisers_among_the_inputs_are_no_inputs(make: Build) -> None:
    found = inspect(make("mxnet"))
    assert found.inputs == (("data", (1, 3, 112, 112)),)
    assert (found.patches[0].tensor, found.patches[0].linear) == ("maps", True)
    assert found.patches[0].between == ("Conv", "Reshape", "BatchNormalization")


def test_channels_last(make: Build) -> None:
    found = inspect(make("nhwc"))
    assert (found.input_layout, found.input_channels) == ("nhwc", 3)
    best = found.patches[0]
    assert (best.tensor, best.layout) == ("patches", "nhwc")
    assert (best.grid, best.channels, best.linear) == ((7, 7), 16, True)


def test_unit_output_grey_and_a_second_output(make: Build) -> None:
    found = inspect(make("unit_output"))
    assert found.embeddings == (("unit", 16),)
    assert (found.input_channels, found.scales_itself) == (1, True)
    assert (found.patches[0].grid, found.patches[0].linear) == ((8, 8), False)
    with pytest.raises(WeightsError, match="no output 'brightness'"):
        inspect(make("unit_output"), embedding="brightness")


@pytest.mark.parametrize("kind", ["flatten_gemm", "mobile", "nhwc", "unit_output"])
def test_the_proposal_is_toml_that_lacks_only_the_terms(make: Build, kind: str) -> None:
    found = inspect(make(kind))
    values = tomllib.loads(propose(found))
    assert values["embedding"] == found.embeddings[0][0]
    assert values["patches"] == found.patches[0].tensor
    assert values["input_size"] == list(found.input_size)
    assert len(values["mean"]) == len(values["std"]) == found.input_channels
    assert values["mean"][0] == (0.0 if found.scales_itself else 127.5)
    assert values["licence"] == {"weights": "", "training_data": ""}


def save(path: Path, graph: onnx.GraphProto, opset: str = "") -> Path:
    opsets = [helper.make_opsetid("", 13)] + ([helper.make_opsetid(opset, 1)] if opset else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def plain(shape: list[object], *, op: str = "Flatten", domain: str = "") -> onnx.GraphProto:
    return helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "D"])],
    )


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (plain(["N", 3]), "does not take one picture"),
        (plain(["N", 4, 16, 16]), "pictures of 4 channels"),
        (plain(["N", 3, 16, 16], op="Mystery"), "cannot open"),
        (plain(["N", 3, 16, 16], op="Mystery", domain="my.ops"), "operators of my.ops"),
        (plain(["N", 3, 16, 16], op="GlobalMaxPool"), "has no embedding"),
    ],
)
def test_what_is_no_face_network(graph: onnx.GraphProto, reason: str, tmp_path: Path) -> None:
    domain = graph.node[0].domain
    with pytest.raises(WeightsError, match=reason):
        inspect(save(tmp_path / "x.onnx", graph, domain))


def test_no_patch_grid(tmp_path: Path) -> None:
    found = inspect(save(tmp_path / "x.onnx", plain(["N", 3, 16, 16])))
    assert found.patches == ()
    with pytest.raises(WeightsError, match="no patch grid"):
        propose(found)


def test_files_that_are_none(tmp_path: Path, make: Build) -> None:
    whole = make("mobile").read_bytes()
    for content in (b"", b"\x80\x04 a pickle, perhaps", whole[:-1000], b"PK\x03\x04" + whole):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(WeightsError):
            inspect(tmp_path / "bad.onnx")
    with pytest.raises(WeightsError, match="cannot be read"):
        inspect(tmp_path / "absent.onnx")
    with pytest.raises(WeightsError, match="cannot be read"):
        inspect(tmp_path)


def test_weights_in_a_second_file_are_not_followed(tmp_path: Path) -> None:
    graph = plain(["N", 3, 16, 16])
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")
    graph.initializer.append(tensor)
    with pytest.raises(WeightsError, match="in another file"):
        inspect(save(tmp_path / "x.onnx", graph))


def test_a_free_size_is_taken_for_112(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["x"], ["maps"], kernel_shape=[16, 16], strides=[16, 16]
            ),
            helper.make_node("Tile", ["maps", "times"], ["wide"]),
            helper.make_node("GlobalAveragePool", ["wide"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 12])],
        [numpy_helper.from_array(np.array([1, 4, 1, 1], np.int64), "times")],
    )
    found = inspect(save(tmp_path / "x.onnx", graph))
    assert (found.input_size, found.fixed_size) == ((112, 112), False)
    assert [p.grid for p in found.patches] == [(7, 7), (7, 7)]
    assert "CHECK: the file leaves it free" in propose(found)
