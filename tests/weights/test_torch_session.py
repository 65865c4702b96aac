"""Graphs run by PyTorch give what ONNX Runtime gives: every operator, networks and detectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceflow import networks
from faceflow.errors import DeviceError, FaceflowError, MissingExtraError, WeightsError
from faceflow.faces.detectors.models import CENTERFACE, MTCNN
from faceflow.features import FaceFeatures
from faceflow.networks import FaceNetwork
from faceflow.weights import devices, load_graphs, pytorch
from faceflow.weights.session import open_session
from faceflow.weights.torch_operators import OPERATORS

pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")

from faceflow.weights.torch_session import TorchSession

X = (2, 6, 9, 7)
# (operator, shape of the input, shapes of constants, attributes)
USES: list[tuple[str, tuple[int, ...], list[Any], dict[str, Any]]] = [
    ("Add", X, [(6, 1, 1)], {}),
    ("AveragePool", X, [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", X, [], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("BatchNormalization", X, [(6,), (6,), (6,), "positive"], {"epsilon": 1e-3}),
    ("Concat", X, [X], {"axis": 1}),
    ("Conv", X, [(4, 6, 3, 3), (4,)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("Conv", X, [(4, 6, 3, 3)], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 1]}),
    ("Conv", X, [(6, 2, 3, 2)], {"kernel_shape": [3, 2], "group": 3, "dilations": [2, 1]}),
    ("ConvTranspose", X, [(6, 4, 2, 2), (4,)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    (
        "ConvTranspose",
        X,
        [(6, 2, 3, 3)],
        {"strides": [2, 2], "group": 2, "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    ("Flatten", X, [], {}),
    ("Gemm", (3, 5), [(4, 5), (4,)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", (5, 3), [(5, 4)], {"transA": 1}),
    ("GlobalAveragePool", X, [], {}),
    ("Identity", X, [], {}),
    ("MaxPool", X, [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("MaxPool", X, [], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}),
    ("Mul", X, [(1,)], {}),
    ("PRelu", X, [(6, 1, 1)], {}),
    ("Relu", X, [], {}),
    ("Sigmoid", X, [], {}),
    ("Squeeze", (2, 5, 1, 1), [np.array([2, 3])], {}),
    ("Transpose", X, [], {"perm": [0, 2, 3, 1]}),
]


def made(
    operator: str, shape: tuple[int, ...], constants: list[Any], how: dict[str, Any]
) -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(7)
    names, tensors = ["x"], []
    for number, one in enumerate(constants):
        if isinstance(one, np.ndarray):
            value = one
        else:
            value = rng.standard_normal((6,) if one == "positive" else one).astype(np.float32)
            value = np.abs(value) if one == "positive" else value
        names.append(f"c{number}")
        tensors.append(numpy_helper.from_array(value, names[-1]))
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], **how)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString(), rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(("operator", "shape", "constants", "how"), USES)
def test_an_operator(
    operator: str, shape: tuple[int, ...], constants: list[Any], how: dict[str, Any]
) -> None:
    graph, x = made(operator, shape, constants, how)
    session = TorchSession(graph, "cpu")
    (found,) = session.run(["y"], {"x": x})
    (expected,) = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(
        ["y"], {"x": x}
    )
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert session.get_inputs()[0].shape == ["N", *shape[1:]]


def test_every_operator_is_tested() -> None:
    assert {operator for operator, *_ in USES} == OPERATORS.keys()


@pytest.mark.parametrize(
    ("operator", "how", "why"),
    [
        ("Softmax", {"axis": 1}, "no Softmax"),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, "with padding"),
        ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "follows the size"),
        ("Flatten", {"axis": 2}, "another axis"),
    ],
)
def test_what_is_not_covered_is_refused(operator: str, how: dict[str, Any], why: str) -> None:
    graph, x = made(operator, X, [], how)
    with pytest.raises(DeviceError, match=f"toy does not run on cpu.*{why}") as caught:
        TorchSession(graph, "cpu", "toy").run(["y"], {"x": x})
    assert "GPU build" in caught.value.todo


def test_values_are_let_go_of_and_unwritable_input_is_taken() -> None:
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in ("xa", "ab", "bc")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xac"]
    graph = helper.make_graph(nodes, "three", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = TorchSession(model.SerializeToString(), "cpu")
    assert [step.last_use for step in session._steps] == [("x",), (), ("b",)]
    x = np.array([-1, 2], np.float32)
    x.flags.writeable = False
    for found in session.run(["c", "a"], {"x": x}):
        assert found.tolist() == [0, 2]


def _graphs(model: Any) -> dict[str, bytes]:
    try:
        return dict(load_graphs(model))
    except WeightsError as error:
        pytest.skip(str(error))


def test_the_default_network_by_pytorch(
    default_network: FaceNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine where PyTorch alone reaches the GPU; the CPU stands in for it."""
    monkeypatch.setattr("faceflow.weights.session.engine", lambda _: "torch")
    other = FaceNetwork(default_network.spec, lambda: networks.graph("lightcnn-v4"))
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3, 128, 128, 3), np.uint8)
    found, expected = other.embed(crops), default_network.embed(crops)
    assert isinstance(other._session._here(), TorchSession)
    for name in ("embedding", "patches", "pooled"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-6)
    np.testing.assert_allclose(found.norms, expected.norms, rtol=1e-5)
    assert found.digest == expected.digest
    assert isinstance(found, FaceFeatures)


@pytest.mark.parametrize("model", [CENTERFACE, MTCNN], ids=lambda model: model.name)
def test_detectors_by_pytorch(model: Any) -> None:
    rng = np.random.default_rng(1)
    for name, graph in _graphs(model).items():
        session, twin = TorchSession(graph, "cpu", name), open_session(graph, name=name)
        (entry,) = session.get_inputs()
        free = [1, 64, 96, 3] if entry.shape[-1] == 3 else [1, 3, 64, 96]
        shape = [
            size if isinstance(size, int) and size > 0 else free[axis]
            for axis, size in enumerate(entry.shape)
        ]
        image = rng.uniform(0, 255, shape).astype(np.float32)
        for found, expected in zip(
            session.run(None, {entry.name: image}),
            twin.run(None, {entry.name: image}),
            strict=True,
        ):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, atol=1e-5 * max(scale, 1))


def test_a_device_that_pytorch_does_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device, why in (("cuda", "PyTorch"), ("mps", "Metal")):
        with pytest.raises(DeviceError, match=why):
            pytorch.require(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pytorch.why_not("cuda") is None
    assert pytorch.why_not("cuda:1") is None
    missing = pytorch.why_not("cuda:2")
    assert missing is not None
    assert "cuda:0 to cuda:1" in missing.why


def test_pytorch_reaches_where_onnx_runtime_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = DeviceError("The device cuda cannot be used", why="a build for the CPU alone")
    seen: list[FaceflowError | None] = [None]
    monkeypatch.setattr(devices, "why_no_cuda", lambda device="cuda": reason)
    monkeypatch.setattr(pytorch, "why_not", lambda device: seen[0])
    assert devices.resolve("cuda:1") == "cuda:1"
    assert devices.resolve("auto") == "cuda"
    assert devices.engine("cuda") == devices.engine("mps") == "torch"
    seen[0] = MissingExtraError("no PyTorch")
    assert devices.engine("cuda") == "onnxruntime"
    with pytest.raises(DeviceError, match="for the CPU alone"):
        devices.resolve("cuda")
    monkeypatch.setattr(devices, "why_no_cuda", lambda device="cuda": None)
    assert devices.engine("cuda") == "onnxruntime"
