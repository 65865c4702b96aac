"""Networks on the device: images a second by batch, by PyTorch and by ONNX Runtime."""

from __future__ import annotations

import time

import numpy as np
from sizes import Here, Sizes

from faceflow import networks
from faceflow.errors import FaceflowError
from faceflow.networks import lightcnn
from faceflow.weights import devices
from faceflow.weights.session import open_session
from faceflow.weights.torch_session import TorchSession

_AT_LEAST = 1.0  # second


def embedding(here: Here, sizes: Sizes, *, small: bool) -> None:
    graph, whose = _graph()
    print(f"LightCNN-V4, 128x128, float32; {whose}; images a second")
    sessions = {"PyTorch": TorchSession(graph, here.device, "lightcnn-v4")}
    missing = None if here.device == "cpu" else devices.why_no_cuda(here.device)
    if missing is None and here.device != "mps":
        sessions["ONNX Runtime"] = open_session(graph, name="lightcnn-v4", device=here.device)
    else:
        print(f"ONNX Runtime left out: {missing.why if missing else 'it does not reach mps'}")
    rng = np.random.default_rng(4)
    outputs = ["embedding", "patches"]
    probe = rng.random((2, 3, 128, 128), np.float32)
    cpu = open_session(graph, name="lightcnn-v4").run(outputs, {"image": probe})
    for name, session in sessions.items():
        found = session.run(outputs, {"image": probe})
        off = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, cpu, strict=True))
        rates = []
        for batch in sizes.batches:
            images = rng.random((batch, 3, 128, 128), np.float32)
            session.run(outputs, {"image": images})
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < (0.1 if small else _AT_LEAST):
                session.run(outputs, {"image": images})
                done += batch
            rates.append(f"{batch}: {done / (time.perf_counter() - start):.3g}")
        print(f"{name:14}{', '.join(rates)}; off the CPU by {off:.1e} of the largest value")


def _graph() -> tuple[bytes, str]:
    try:
        return networks.graph("lightcnn-v4"), "its weights"
    except FaceflowError:  # speed does not depend on them
        rng = np.random.default_rng(0)
        shapes = lightcnn.ARCHITECTURE.expected_shapes()
        tensors = {
            name: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
            for name, shape in shapes.items()
        }
        return lightcnn.ARCHITECTURE.build(tensors), "random weights: the model is not pulled"
