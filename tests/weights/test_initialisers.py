"""Constants read out of a graph, against the package ``onnx``."""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from faceflow.errors import WeightsError
from faceflow.weights.graphs import serialise
from faceflow.weights.initialisers import read_initialisers

RNG = np.random.default_rng(0)
TENSORS = {
    "small": np.float32([1.5]),
    "scalar": np.float32(-2.25).reshape(()),
    "none": np.zeros((0, 3), np.float32),
    "fc.weight": RNG.standard_normal((5, 77)).astype(np.float32),
    "fc.bias": RNG.standard_normal(5).astype(np.float32),
}


def graph() -> bytes:
    return serialise(
        "some",
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["out"], transB=1),
        ],
        inputs={"image": ["N", 7, 11]},
        outputs={"out": ["N", 5]},
        tensors=TENSORS | {"axes": np.int64([1])},
    )


def with_tensor(tensor: TensorProto) -> bytes:
    made = helper.make_graph([], "one", [], [], [tensor])
    return bytes(helper.make_model(made).SerializeToString())


def test_the_same_numbers_as_onnx_reads() -> None:
    content = graph()
    known = {t.name: t for t in onnx.load_from_string(content).graph.initializer}
    found = read_initialisers(content, TENSORS)
    assert found.keys() == TENSORS.keys()
    for name, values in found.items():
        expected = numpy_helper.to_array(known[name])
        assert values.dtype == np.float32
        assert values.shape == expected.shape
        assert values.tobytes() == expected.tobytes()


def test_only_what_was_asked_for() -> None:
    assert read_initialisers(graph(), ("fc.bias", "nothing")).keys() == {"fc.bias"}


def test_sizes_that_are_packed_into_one_field() -> None:
    """As newer encoders may write them; onnx writes a field for each."""
    values = RNG.standard_normal((2, 300)).astype(np.float32)
    raw = values.tobytes()
    tensor = b"\x0a\x03\x02\xac\x02" + b"\x10\x01" + b"\x42\x01w"
    tensor += b"\x4a" + length(len(raw)) + raw
    part = b"\x2a" + length(len(tensor)) + tensor
    content = b"\x3a" + length(len(part)) + part
    (known,) = onnx.load_from_string(content).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(known), values)
    np.testing.assert_array_equal(read_initialisers(content, ("w",))["w"], values)


def length(size: int) -> bytes:
    return bytes([size & 0x7F | 0x80, size >> 7]) if size > 0x7F else bytes([size])


@pytest.mark.parametrize(
    "tensor",
    [
        numpy_helper.from_array(np.float64([1.0]), "w"),
        numpy_helper.from_array(np.float16([1.0]), "w"),
        helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]),
        TensorProto(
            name="w",
            data_type=TensorProto.FLOAT,
            dims=[1],
            raw_data=bytes(4),
            data_location=TensorProto.EXTERNAL,
        ),
    ],
    ids=["float64", "float16", "no raw bytes", "in another file"],
)
def test_other_kinds_count_as_absent(tensor: TensorProto) -> None:
    assert read_initialisers(with_tensor(tensor), ("w",)) == {}


def test_bytes_that_do_not_fit_the_shape() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**40], raw_data=bytes(4))
    with pytest.raises(WeightsError, match="the constant w of the graph is damaged"):
        read_initialisers(with_tensor(tensor), ("w",))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x3a\x05\x2a", "ends within a field"),
        (b"\x3a\xff", "ends within a number"),
        (b"\x08" + b"\xff" * 11, "more than 64 bits"),
        (b"\x3b\x00", "no kind 3"),
    ],
)
def test_what_is_no_message(content: bytes, why: str) -> None:
    with pytest.raises(WeightsError, match=why):
        read_initialisers(content, ("w",))


@given(st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_damage_is_an_error_of_ours_or_unseen(place: int, value: int) -> None:
    content = bytearray(GRAPH)
    content[place % len(content)] = value
    for damaged in (bytes(content), GRAPH[: place % len(GRAPH)]):
        with contextlib.suppress(WeightsError):
            read_initialisers(damaged, TENSORS)


GRAPH = graph()
