"""Find faces and their five landmarks in photos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from faceflow.errors import DeviceError, InputError
from faceflow.faces.detectors.centerface import CenterFaceDetector
from faceflow.faces.detectors.detector import Detection, Detector
from faceflow.faces.detectors.fan import FanDetector
from faceflow.faces.detectors.models import CENTERFACE, MTCNN, SCRFD_10G, SCRFD_500M, YUNET
from faceflow.faces.detectors.mtcnn import MtcnnDetector
from faceflow.faces.detectors.scrfd import ScrfdDetector
from faceflow.faces.detectors.yunet import YuNetDetector
from faceflow.weights import ModelFile, load_graphs
from faceflow.weights.devices import Device, resolve

DEFAULT = "centerface"
MODELS: tuple[ModelFile, ...] = (CENTERFACE, MTCNN, YUNET, SCRFD_10G, SCRFD_500M)
"""The detectors as the model registry sees them, the default one first."""

_Load = Callable[[int | None, Device], Detector]
_LOADERS: Mapping[str, _Load] = MappingProxyType(
    {
        "centerface": lambda threads, device: CenterFaceDetector(
            load_graphs(CENTERFACE), threads=threads, device=device
        ),
        "mtcnn": lambda threads, device: MtcnnDetector(
            load_graphs(MTCNN), threads=threads, device=device
        ),
        "yunet": lambda threads, device: YuNetDetector(
            load_graphs(YUNET), threads=threads, device=device
        ),
        "scrfd-10g": lambda threads, device: _scrfd(SCRFD_10G, threads, device),
        "scrfd-500m": lambda threads, device: _scrfd(SCRFD_500M, threads, device),
        "fan-2d": lambda _, device: _fan("2d", device),
        "fan-3d": lambda _, device: _fan("3d", device),
    }
)
DETECTORS = tuple(_LOADERS)
"""Their names; a gallery remembers whose landmarks aligned its faces."""


def load_detector(
    name: str = DEFAULT, *, threads: int | None = None, device: str | None = None
) -> Detector:
    """Load a detector from the cache.

    Args:
        name: one of :data:`DETECTORS`. "centerface" and "mtcnn" can be pulled; "yunet",
            "scrfd-10g" and "scrfd-500m" come from a file of yours; "fan-2d" and "fan-3d" need
            an extra.
        threads: CPU threads for one call; None: one per physical core.
        device: "cpu", "cuda" or "auto", see :func:`faceflow.weights.devices.resolve`. FAN runs on
            the CPU, and refuses cuda.

    Raises:
        InputError: unknown name or device, or ``threads`` below 1.
        WeightsError: not pulled yet or damaged; the error holds the command to run.
        MissingExtraError: FAN is asked for and its package is not installed.
        DeviceError: the device is not there, or the detector does not run on it.
    """
    check_detector(name)
    return _LOADERS[name](threads, resolve(device))


def check_detector(name: str) -> None:
    """Raise :class:`InputError`, listing the known, unless there is a detector of that name."""
    if name not in _LOADERS:
        raise InputError(
            f"there is no detector {name!r}", todo=f"choose one of {', '.join(DETECTORS)}"
        )


def _scrfd(model: ModelFile, threads: int | None, device: Device) -> Detector:
    return ScrfdDetector(load_graphs(model), model.name, threads=threads, device=device)


def _fan(mode: Literal["2d", "3d"], device: Device) -> Detector:
    if device != "cpu":
        raise DeviceError(
            f"The detector fan-{mode} runs on the CPU alone",
            todo=f"use the device cpu, or the detector {DEFAULT}",
        )
    return FanDetector(mode)


__all__ = [
    "DEFAULT",
    "DETECTORS",
    "MODELS",
    "CenterFaceDetector",
    "Detection",
    "Detector",
    "FanDetector",
    "MtcnnDetector",
    "ScrfdDetector",
    "YuNetDetector",
    "check_detector",
    "load_detector",
]
