"""FaceNetwork around a small graph: order, batches, colours, moving between processes."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from faceflow import networks
from faceflow.errors import InputError, WeightsError
from faceflow.networks import FaceNetwork, NetworkSpec
from faceflow.weights.graphs import serialise

H, W, GRID, D = 8, 12, (2, 3), 5
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((D, 3 * 6)).astype(np.float32)
BIAS = RNG.standard_normal(D).astype(np.float32)


def graph(channels: int = 3, *, fc: str = "fc") -> bytes:
    """Patches are 4x4 block means of the input, the embedding a linear layer on them."""
    weight = WEIGHT[:, : channels * 6]
    return serialise(
        "small",
        [
            helper.make_node(
                "AveragePool", ["image"], ["patches"], kernel_shape=[4, 4], strides=[4, 4]
            ),
            helper.make_node("Flatten", ["patches"], ["flat"]),
            helper.make_node("Gemm", ["flat", f"{fc}.w", f"{fc}.b"], ["embedding"], transB=1)
            if fc != "fc"
            else helper.make_node(
                "Gemm", ["flat", "fc.weight", "fc.bias"], ["embedding"], transB=1
            ),
        ],
        inputs={"image": ["N", channels, H, W]},
        outputs={"embedding": ["N", D], "patches": ["N", channels, *GRID]},
        tensors={"fc.weight": weight, "fc.bias": BIAS}
        if fc == "fc"
        else {f"{fc}.w": weight, f"{fc}.b": BIAS},
    )


def small(**changes: Any) -> NetworkSpec:
    defaults: dict[str, Any] = {
        "input_size": (H, W),
        "grid": GRID,
        "channels": 3,
        "embedding_size": D,
        "mean": (10.0, 20.0, 30.0),
        "std": (2.0, 4.0, 8.0),
    }
    return replace(networks.spec("lightcnn-v4"), **(defaults | changes))


@pytest.fixture
def network(tmp_path: Path) -> FaceNetwork:
    path = tmp_path / "graph.onnx"
    path.write_bytes(graph())
    return FaceNetwork(small(), partial(Path.read_bytes, path), threads=1)


def crops(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, H, W, 3), dtype=np.uint8)


def test_features_are_what_the_graph_says(network: FaceNetwork) -> None:
    images = crops(3)
    found = network.embed(images)
    scaled = (images.astype(np.float64) - [10, 20, 30]) / [2, 4, 8]
    blocks = scaled.reshape(3, 2, 4, 3, 4, 3).mean(axis=(2, 4)).reshape(3, 6, 3)  # (N, R, C)
    np.testing.assert_allclose(found.raw_patches, blocks, rtol=1e-5)
    embedding = blocks.transpose(0, 2, 1).reshape(3, -1) @ WEIGHT.T.astype(np.float64) + BIAS
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_allclose(found.embedding, embedding, atol=1e-6)
    assert found.grid == GRID


def test_any_batch_size_gives_the_same(network: FaceNetwork) -> None:
    images = crops(7)
    whole = network.embed(images, batch_size=7)
    for size in (1, 2, 3, 100):
        parts = network.embed(images, batch_size=size)
        np.testing.assert_allclose(parts.embedding, whole.embedding, atol=1e-6)
        np.testing.assert_allclose(parts.patches, whole.patches, atol=1e-6)


def test_no_crops(network: FaceNetwork) -> None:
    found = network.embed(crops(0))
    assert len(found) == 0
    assert found.embedding.shape == (0, D)
    assert found.patches.shape == (0, 6, 3)


def test_crops_are_not_changed_and_may_be_views(network: FaceNetwork) -> None:
    images = crops(4)
    kept = images.copy()
    mirrored = images[::2, :, ::-1]
    found = network.embed(mirrored)
    again = network.embed(np.ascontiguousarray(mirrored))
    np.testing.assert_array_equal(found.embedding, again.embedding)
    np.testing.assert_array_equal(images, kept)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, H, W, 3), np.float32),
        np.zeros((H, W, 3), np.uint8),
        np.zeros((1, W, H, 3), np.uint8),
        np.zeros((1, H, W, 4), np.uint8),
        np.zeros((1, 3, H, W), np.uint8),
        np.zeros((0,), np.uint8),
    ],
    ids=str,
)
def test_wrong_crops(network: FaceNetwork, wrong: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"needs \(N, 8, 12, 3\) uint8 RGB"):
        network.embed(wrong)


def test_wrong_batch_size_and_threads(network: FaceNetwork) -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        network.embed(crops(1), batch_size=0)
    with pytest.raises(InputError, match="threads is -1"):
        FaceNetwork(small(), graph, threads=-1)


def test_nan_from_the_network_is_an_error() -> None:
    network = FaceNetwork(small(std=(0.0, 1.0, 1.0), mean=(0.0, 0.0, 0.0)), graph)
    with np.errstate(all="ignore"), pytest.raises(InputError, match="NaN or infinity"):
        network.embed(np.zeros((1, H, W, 3), np.uint8))


def test_colour_orders() -> None:
    images = crops(2)
    rgb = FaceNetwork(small(mean=(0.0,) * 3, std=(1.0,) * 3), graph).scale(images)
    bgr = FaceNetwork(small(colour="bgr", mean=(0.0,) * 3, std=(1.0,) * 3), graph).scale(images)
    np.testing.assert_array_equal(rgb, images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(bgr, rgb[:, ::-1])
    spec = small(colour="gray", mean=(0.0,), std=(255.0,), channels=1)
    gray = FaceNetwork(spec, partial(graph, 1))
    assert gray.embed(images).patches.shape == (2, 6, 1)
    grey = np.repeat(images[..., :1], 3, axis=-1)
    np.testing.assert_allclose(
        gray.scale(grey)[:, 0], grey[..., 0].astype(np.float64) / 255, rtol=1e-6
    )


def test_last_layer_makes_the_embedding(network: FaceNetwork) -> None:
    weight, bias = network.last_layer
    assert weight.shape == (D, 6, 3)
    assert weight.dtype == bias.dtype == np.float32
    raw, maps = network.run(network.scale(crops(2)))
    patches = maps.reshape(2, 3, 6).transpose(0, 2, 1)
    np.testing.assert_allclose(np.einsum("drc,nrc->nd", weight, patches) + bias, raw, rtol=1e-4)
    assert network.last_layer[0] is weight, "read once"


def test_a_graph_without_last_layer() -> None:
    network = FaceNetwork(small(), partial(graph, fc="other"))
    with pytest.raises(WeightsError, match="no last layer named fc"):
        _ = network.last_layer


def test_digest_and_repr(network: FaceNetwork) -> None:
    assert network.digest == small().digest
    assert "lightcnn-v4" in repr(network)


def test_pickle_opens_the_graph_anew(network: FaceNetwork) -> None:
    images = crops(2)
    content = pickle.dumps(network)
    assert len(content) < 3000, "the graph itself does not travel"
    moved = pickle.loads(content)
    np.testing.assert_array_equal(moved.embed(images).embedding, network.embed(images).embedding)


def test_several_threads_at_once(network: FaceNetwork) -> None:
    images = [crops(3, seed) for seed in range(8)]
    expected = [network.embed(image).embedding for image in images]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        for _ in range(20):
            found[i] = network.embed(images[i]).embedding

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, embedding in enumerate(expected):
        np.testing.assert_array_equal(found[i], embedding)


FORK = """
import os, sys, warnings
from functools import partial
from pathlib import Path
import numpy as np
from faceflow.networks import FaceNetwork
import pickle
network = pickle.loads(Path(sys.argv[1]).read_bytes())
images = np.zeros((4, 8, 12, 3), np.uint8)
before = network.embed(images)
warnings.simplefilter("ignore")  # newer Pythons warn of forking with threads: that is the test
child = os.fork()
if child == 0:
    same = np.array_equal(network.embed(images).embedding, before.embedding)
    os._exit(0 if same else 1)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_process_may_use_it(network: FaceNetwork, tmp_path: Path) -> None:
    spec, read, _ = network.__reduce__()[1]
    path = tmp_path / "network.pickle"
    path.write_bytes(pickle.dumps(FaceNetwork(spec, read, threads=2)))
    # Its own group, so that a child that hangs is ended with it.
    process = subprocess.Popen([sys.executable, "-c", FORK, str(path)], start_new_session=True)
    try:
        assert process.wait(timeout=30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
