"""PyTorch where somebody wants a device of it: an optional package, asked what it sees here."""

from __future__ import annotations

from typing import Any

from faceflow.errors import DeviceError, FaceflowError, MissingExtraError

INSTALL = "pip install 'faceflow[torch]'"


def require(device: str) -> Any:
    """The module ``torch``, where it can compute on ``device`` ("cpu", "cuda", "cuda:1", "mps").

    Raises:
        MissingExtraError: PyTorch is not installed.
        DeviceError: it does not see the device.
    """
    missing = why_not(device)
    if missing is not None:
        raise missing
    import torch

    return torch


def why_not(device: str) -> FaceflowError | None:
    """What keeps PyTorch from computing on ``device``; None when nothing does. Loads PyTorch."""
    try:
        import torch
    except ImportError as error:
        return MissingExtraError(
            f"The device {device} needs PyTorch for this",
            why="PyTorch is not installed" if _is_absent(error) else f"it does not load: {error}",
            todo=f"run `{INSTALL}`, or use the device cpu",
        )
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return None
    if kind == "mps":
        seen = bool(torch.backends.mps.is_available())
        return None if seen else _unseen(device, "PyTorch sees no Apple GPU (Metal) here")
    count = int(torch.cuda.device_count()) if torch.cuda.is_available() else 0
    if count == 0:
        built = torch.version.cuda or torch.version.hip
        return _unseen(
            device,
            "PyTorch sees no CUDA device here"
            if built
            else f"PyTorch {torch.__version__} is a build for the CPU alone",
        )
    if number and int(number) >= count:
        return _unseen(device, f"PyTorch sees cuda:0 to cuda:{count - 1}")
    return None


def seen(device: str) -> str | None:
    """The device, where it is another than the CPU and PyTorch sees it; else None.

    For what the CPU does as well, with the same results; who needs the device calls
    :func:`require`.
    """
    return device if device != "cpu" and why_not(device) is None else None


def _unseen(device: str, why: str) -> DeviceError:
    return DeviceError(
        f"The device {device} cannot be used",
        why=why,
        todo="look for the GPU with `nvidia-smi`, or use the device cpu"
        if device != "mps"
        else "use the device cpu",
    )


def _is_absent(error: ImportError) -> bool:
    return isinstance(error, ModuleNotFoundError) and (error.name or "") == "torch"
