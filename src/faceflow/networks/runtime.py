"""A face network at work: crops in, features out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from faceflow.arrays import Float32, UInt8
from faceflow.errors import InputError, WeightsError
from faceflow.features import FaceFeatures, features_digest
from faceflow.networks.spec import NetworkSpec
from faceflow.weights import ForkSafeSession
from faceflow.weights.devices import Device
from faceflow.weights.initialisers import read_initialisers

_DEVICE_BATCH = 16  # crops; enough to keep a GPU busy, and 200 MB of its memory at most
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as grey JPEGs use


class FaceNetwork:
    """An ONNX graph and the preprocessing it wants.

    Args:
        spec: what the network is.
        read_graph: gives the graph's ONNX bytes: input ``image`` (N, channels, H, W) float32,
            already scaled; outputs ``embedding`` (N, D) and ``spec.patch_output`` (N, C, h, w);
            initialisers ``fc.weight`` (D, C * h * w), or (D, C) behind a mean over the grid,
            and ``fc.bias`` (D,), the linear layer between the two. Called now, and again in
            a process this object is moved to.
        threads: CPU threads for one call; None: one per physical core.
        device: where it runs, from :func:`faceflow.weights.devices.resolve`.

    Safe to use from several threads at once, after a fork, and, when ``read_graph`` can be
    pickled, to pickle: a moved network opens its graph anew instead of carrying it along; see
    :class:`faceflow.weights.ForkSafeSession` for what a bare ``os.fork`` must heed.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        read_graph: Callable[[], bytes],
        threads: int | None = None,
        device: Device = "cpu",
    ) -> None:
        self.spec = spec
        self.threads = threads
        self.device = device
        self._read_graph = read_graph
        self._session = ForkSafeSession(read_graph, threads=threads, name=spec.name, device=device)

    def __reduce__(self) -> tuple[type[FaceNetwork], tuple[Any, ...]]:
        return FaceNetwork, (self.spec, self._read_graph, self.threads, self.device)

    def __repr__(self) -> str:
        return f"FaceNetwork({self.spec.name!r}, digest={self.digest[:12]!r})"

    @property
    def digest(self) -> str:
        """Hex sha256 of the weights and the preprocessing; see :attr:`NetworkSpec.digest`."""
        return self.spec.digest

    @property
    def batch_size(self) -> int:
        """How many crops it takes at a time, so that no face's features depend on the others.

        As many as the graph wants, where it is made for a number. Else one on the CPU, where more
        are hardly faster (3% on one thread) and may be summed in another order. On a device always
        the same number, filled up with repetitions, because there the number decides how it sums.
        """
        size = self._session.get_inputs()[0].shape[0]
        if isinstance(size, int):
            return size
        return 1 if self.device == "cpu" else _DEVICE_BATCH

    def embed(self, crops: UInt8, *, batch_size: int | None = None) -> FaceFeatures:
        """Features of aligned face crops.

        Args:
            crops: (N, H, W, 3) uint8 RGB, aligned to ``spec.template`` and of
                ``spec.input_size``; N may be 0.
            batch_size: crops per call of the graph, some 12 MB of memory each; None takes
                :attr:`batch_size`.

        Returns:
            Features of N faces in the order of the crops. Their digest takes the crops for
            aligned in the usual way; say ``as_from`` where they are not.

        Raises:
            InputError: wrong shape or type, a batch size below 1, or the network gives NaN.
            WeightsError: ONNX Runtime refuses the graph.
            DeviceError: it does not run the graph on the device.
        """
        expected = (*self.spec.input_size, 3)
        if crops.ndim != 4 or crops.shape[1:] != expected or crops.dtype != np.uint8:
            raise InputError(
                f"crops have shape {crops.shape} and type {crops.dtype}",
                why=f"{self.spec.name} needs (N, {', '.join(map(str, expected))}) uint8 RGB",
                todo=f"align the photo to the template {self.spec.template} first",
            )
        step = self.batch_size if batch_size is None else batch_size
        if step < 1:
            raise InputError(f"batch_size is {step}", todo="give 1 or more")
        n = len(crops)
        embedding = np.empty((n, self.spec.embedding_size), np.float32)
        maps = np.empty((n, self.spec.channels, *self.spec.grid), np.float32)
        for start in range(0, n, step):
            part = slice(start, start + step)
            embedding[part], maps[part] = self.run(self.scale(crops[part]))
        return FaceFeatures.from_maps(
            embedding, maps, digest=features_digest(self.digest, teacher=self.spec.teacher)
        )

    def scale(self, crops: UInt8) -> Float32:
        """What the graph sees of ``crops``: (N, channels, H, W), ``(pixel - mean) / std``.

        Done here and not in the graph: it costs under 0.1 of some 40 ms a crop, and so the graph
        takes exactly what the published network takes.
        """
        return scale_crops(self.spec, crops)

    def run(self, images: Float32) -> tuple[Float32, Float32]:
        """The graph's raw outputs, nothing normalised.

        Args:
            images: (N, channels, H, W) float32 as :meth:`scale` makes them.

        Returns:
            embedding (N, D) and patches (N, C, h, w).
        """
        wanted = ["embedding", self.spec.patch_output]
        size = self._session.get_inputs()[0].shape[0]
        if not isinstance(size, int) and self.device != "cpu":
            size = self.batch_size
        if not isinstance(size, int):
            embedding, patches = self._session.run(wanted, {"image": images})
            return embedding, patches
        # Some exported networks take so many crops at a time, often 1: the last is repeated to
        # fill a batch, and what comes of the repetitions is dropped.
        filled = np.concatenate([images, np.repeat(images[-1:], -len(images) % size, axis=0)])
        parts = [
            self._session.run(wanted, {"image": filled[start : start + size]})
            for start in range(0, len(filled), size)
        ]
        embedding, patches = (np.concatenate([part[n] for part in parts]) for n in range(2))
        return embedding[: len(images)], patches[: len(images)]

    @cached_property
    def last_layer(self) -> tuple[Float32, Float32]:
        """The linear layer that makes the embedding of the raw patches.

        Returns:
            weight (D, R, C) and bias (D,) such that the raw embedding of a face is
            ``einsum("drc,rc->d", weight, raw_patches) + bias``.

        Raises:
            WeightsError: the graph is gone from the cache, or has no such layer between the
                patches and the embedding.
        """
        return last_layer_of(self.spec, self._read_graph())


class NoLastLayerError(WeightsError):
    """No linear layer makes a network's embedding of its patches."""


def last_layer_of(spec: NetworkSpec, graph: bytes) -> tuple[Float32, Float32]:
    """Weight (D, R, C) and bias (D,); see :attr:`FaceNetwork.last_layer`.

    Raises:
        NoLastLayerError: there is no such layer.
    """
    found = read_initialisers(graph, ("fc.weight", "fc.bias"))
    if len(found) != 2:
        raise NoLastLayerError(f"the graph of {spec.name} has no last layer named fc")
    d, c, r = spec.embedding_size, spec.channels, int(np.prod(spec.grid))
    if spec.patch_output != "patches" or found["fc.weight"].size not in (d * c * r, d * c):
        raise NoLastLayerError(
            f"no linear layer makes the embedding of {spec.name} of its patches",
            why="its patches come from the middle of the network",
            todo="use the network's last patches where a linear layer is needed",
        )
    if found["fc.weight"].size == d * c:  # the mean over the grid is linear too
        weight = np.broadcast_to(found["fc.weight"][:, None, :] / np.float32(r), (d, r, c))
    else:
        weight = found["fc.weight"].reshape(d, c, r).transpose(0, 2, 1)
    # Copies, or they would keep the whole graph in memory.
    return weight.copy(order="C"), found["fc.bias"].copy()


def scale_crops(spec: NetworkSpec, crops: UInt8) -> Float32:
    """What the network of ``spec`` sees of crops (N, H, W, 3); see :meth:`FaceNetwork.scale`."""
    channels = crops.transpose(0, 3, 1, 2)
    if spec.colour == "bgr":
        channels = channels[:, ::-1]
    values = np.ascontiguousarray(channels).astype(np.float32)
    if spec.colour == "gray":
        values = np.einsum("nchw,c->nhw", values, _LUMA)[:, None]
    values -= np.array(spec.mean, np.float32)[:, None, None]
    values /= np.array(spec.std, np.float32)[:, None, None]
    return values
