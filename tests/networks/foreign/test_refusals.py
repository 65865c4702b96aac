"""Graphs that nobody should run: each is refused with a reason, and none runs away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceflow.errors import FaceflowError, InputError, WeightsError
from faceflow.networks.foreign import importing, inspect
from faceflow.system.child import Limits

Node = onnx.NodeProto


def write(path: Path, nodes: list[Node], *constants: onnx.TensorProto, **options: Any) -> Path:
    """A graph from the picture ``x`` to ``y``, whatever lies between."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, options.get("x", [1, 3, 16, 16]))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, options.get("y"))],
        list(constants),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def constant(name: str, values: Any, kind: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def outside(name: str) -> onnx.TensorProto:
    """Weights that are said to lie in another file, any file of the user's."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../etc/passwd")
    return tensor


def branch(name: str, *constants: onnx.TensorProto, nodes: tuple[Node, ...] = ()) -> Any:
    made = nodes or (helper.make_node("Identity", ["x"], [name]),)
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
    return helper.make_graph(list(made), name, [], [out], list(constants))


def choose(first: Any) -> Node:
    return helper.make_node("If", ["which"], ["y"], then_branch=first, else_branch=branch("b"))


TRUE = numpy_helper.from_array(np.array(True), "which")
ADD = helper.make_node("Add", ["x", "w"], ["y"])
HELD = helper.make_node("Constant", [], ["w"], value=outside("held"))
EXTERNAL = {
    "initialiser": ([ADD], [outside("w")]),
    "constant": ([HELD, ADD], []),
    "inner initialiser": ([choose(branch("a", outside("w")))], [TRUE]),
    "inner constant": (
        [choose(branch("a", nodes=(HELD, helper.make_node("Add", ["x", "w"], ["a"]))))],
        [TRUE],
    ),
}


@pytest.mark.parametrize("where", EXTERNAL)
def test_weights_in_other_files(where: str, tmp_path: Path) -> None:
    nodes, constants = EXTERNAL[where]
    with pytest.raises(WeightsError, match="keeps its weights in another file"):
        inspect(write(tmp_path / "x.onnx", nodes, *constants))


def body() -> onnx.GraphProto:
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["v"], ["v_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None),
        ],
    )


LOOP = helper.make_node("Loop", ["trips", "which", "x"], ["y"], body=body())
TRIPS = constant("trips", 2**62)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([LOOP], [TRIPS, TRUE]),
        (
            [
                choose(
                    branch(
                        "a",
                        nodes=(
                            helper.make_node("Loop", ["trips", "which", "x"], ["a"], body=body()),
                        ),
                    )
                )
            ],
            [TRIPS, TRUE],
        ),
    ],
    ids=["loop", "loop in a branch"],
)
def test_loops(nodes: list[Node], constants: list[Any], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"repeats a part of itself \(Loop\)"):
        inspect(write(tmp_path / "x.onnx", nodes, *constants))


PIXEL = [
    helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
    helper.make_node("Cast", ["most"], ["n"], to=TensorProto.INT64),
    helper.make_node("Reshape", ["n", "one"], ["size"]),
]
ONE = constant("one", [1])


@pytest.mark.parametrize(
    "nodes",
    [
        [*PIXEL, helper.make_node("ConstantOfShape", ["size"], ["y"])],
        [*PIXEL, helper.make_node("Expand", ["most", "size"], ["y"])],
        [*PIXEL[::-1], helper.make_node("Expand", ["most", "size"], ["y"])],  # in any order
        [*PIXEL, helper.make_node("Range", ["zero", "n", "step"], ["y"])],
    ],
    ids=["ConstantOfShape", "Expand", "unsorted", "Range"],
)
def test_sizes_that_pixels_decide(nodes: list[Node], tmp_path: Path) -> None:
    more = [constant("zero", 0), constant("step", 1)]
    with pytest.raises(WeightsError, match="computes a size from the picture's pixels"):
        inspect(write(tmp_path / "x.onnx", nodes, ONE, *more))


def test_sizes_that_shapes_decide_are_as_usual(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["size"]),
        helper.make_node("Expand", ["x", "size"], ["same"]),
        helper.make_node("Flatten", ["same"], ["y"]),
    ]
    assert inspect(write(tmp_path / "x.onnx", nodes, y=[1, 768])).embeddings == (("y", 768),)


FLAT = [helper.make_node("Flatten", ["x"], ["y"])]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ([1, 3, -5, 112], "takes pictures of -5x112 pixels.*8 to 1024"),
        ([1, 3, 112, 0], "takes pictures of 112x0 pixels"),
        ([1, 3, 2**40, 2**40], "pixels.*8 to 1024"),
        ([1, 112, -112, 3], "takes pictures of 112x-112 pixels"),
        ([1_000_000, 3, 112, 112], "1,000,000 pictures at a time.*up to 64"),
    ],
)
def test_inputs_that_no_face_network_has(shape: list[int], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason):
        inspect(write(tmp_path / "x.onnx", FLAT, x=shape))


@pytest.mark.parametrize("batch", [0, -1])
def test_odd_ways_to_write_any_number(batch: int, tmp_path: Path) -> None:
    assert inspect(write(tmp_path / "x.onnx", FLAT, x=[batch, 3, 16, 16])).batch is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.onnx")
    for path in (tmp_path / "x.onnx", Path("/dev/zero"), tmp_path, tmp_path / "absent.onnx"):
        with pytest.raises(WeightsError, match="cannot be read"):
            inspect(path)


def huge(path: Path) -> Path:
    """A few bytes that ask for 16 TB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceMax", ["zeros"], ["most"], keepdims=1),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Add", ["flat", "most"], ["y"]),
    ]
    return write(path, nodes, constant("size", [2**21, 2**21]))


def endless(path: Path) -> Path:
    """A kilobyte a node, and 2 ** 37 operations each."""
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["m0"])]
    nodes += [helper.make_node("MatMul", [f"m{n}", "m0"], [f"m{n + 1}"]) for n in range(3000)]
    nodes += [
        helper.make_node("ReduceMax", ["m3000"], ["most"], keepdims=1),
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Add", ["flat", "most"], ["y"]),
    ]
    return write(path, nodes, constant("size", [4096, 4096]))


def many_outputs(path: Path) -> Path:
    nodes = [helper.make_node("Split", ["x"], ["y"], axis=1, num_outputs=2**31 - 1)]
    return write(path, nodes)


@pytest.mark.parametrize("build", [huge, endless, many_outputs])
def test_what_would_hang_or_eat_the_memory_costs_an_error(
    build: Callable[[Path], Path], tmp_path: Path, apart: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(seconds=60, cpu_seconds=3, memory=1000 * 2**20)
    monkeypatch.setattr(importing, "_limits", lambda _: limits)
    begin = time.monotonic()
    with pytest.raises(FaceflowError) as caught:
        inspect(build(tmp_path / "x.onnx"))
    assert time.monotonic() - begin < 58, "ended by a limit, or at once"
    assert "x.onnx" in str(caught.value)
    assert "Traceback" not in str(caught.value)
