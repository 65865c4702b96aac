"""Where faceflow computes: the CPU, or a device that must really be there when it is asked for.

A CUDA device is reached through ONNX Runtime's GPU build, or through PyTorch where that build is
missing; Apple's GPUs (mps) through PyTorch alone.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np

from faceflow.errors import DeviceError, FaceflowError, InputError
from faceflow.weights import pytorch

Device = str
"""A device that was chosen: "cpu", "cuda", "cuda:1", "mps"; to ask for one there is "auto" too."""

Engine = Literal["onnxruntime", "torch"]
"""What runs networks on a device."""

CHOICES = ("cpu", "cuda", "cuda:NUMBER", "mps", "auto")
VARIABLE = "FACEFLOW_DEVICE"
"""The environment variable that chooses where nobody else does."""

_NAMES: Mapping[Engine, str] = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
# ONNX Runtime's levels of logging; the second is its default.
_FATAL, _WARNING = 4, 2
_PACKAGES = ("onnxruntime", "onnxruntime-gpu")
# The two packages share a folder, so one that is installed over the other has to be put back.
REPAIR = (
    "run `pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install onnxruntime-gpu`; "
    "or use the device cpu"
)
_LOG = logging.getLogger("faceflow")


def resolve(device: str | None = None) -> Device:
    """The device to use.

    Args:
        device: "cpu", "cuda" (the first one, or "cuda:1", ...), "mps", or "auto": cuda where it
            works, else cpu, and the log ("faceflow") says which and why. None takes
            $FACEFLOW_DEVICE, and cpu without that.

    Raises:
        InputError: another name.
        DeviceError: a device was asked for and is not to be had; the error says what is missing.
    """
    found, why = choose(device)
    if why:
        _LOG.info("%s", why)
    return found


def choose(device: str | None = None) -> tuple[Device, str]:
    """As :func:`resolve`, with what it would tell the log: "" where nothing was left to it."""
    asked = (device or os.environ.get(VARIABLE, "")).strip().lower() or "cpu"
    if asked == "auto":
        missing = why_not("cuda")
        if missing is None:
            return "cuda", f"device auto: cuda, networks by {_NAMES[engine('cuda')]}"
        return "cpu", f"device auto: cpu, because {missing.why or missing.what}"
    if not named(asked):
        whose = "device" if device else VARIABLE
        raise InputError(f"{whose} is {asked!r}", todo=f"choose one of {', '.join(CHOICES)}")
    missing = why_not(asked)
    if missing is not None:
        # Anew each time: an error that is raised twice gathers tracebacks.
        raise DeviceError(missing.what, why=missing.why, todo=missing.todo)
    return asked, ""


def named(device: str) -> bool:
    """Whether that is the name of a device, there or not."""
    return re.fullmatch(r"cpu|cuda(:\d{1,3})?|mps", device) is not None


def why_not(device: Device) -> FaceflowError | None:
    """What keeps networks from running on a device; None when nothing does."""
    if device == "cpu":
        return None
    if device == "mps":
        return pytorch.why_not(device)
    missing = why_no_cuda(device)
    if missing is None or pytorch.why_not(device) is None:
        return None
    return missing


def engine(device: Device) -> Engine:
    """What runs networks on a device: PyTorch where it alone reaches it."""
    if device == "mps":
        return "torch"
    if device == "cpu" or why_no_cuda(device) is None or pytorch.why_not(device) is not None:
        return "onnxruntime"
    return "torch"


@cache
def why_no_cuda(device: Device = "cuda") -> DeviceError | None:
    """What keeps ONNX Runtime from running networks on a CUDA device; None when nothing does.

    Looks once a process: it runs a small graph there.
    """
    import onnxruntime

    if _CUDA not in onnxruntime.get_available_providers():
        return DeviceError(
            f"The device {device} cannot be used", why=_wrong_build(device), todo=_todo()
        )
    said = preload()
    onnxruntime.set_default_logger_severity(_FATAL)  # the error says it in plain words
    try:
        session = onnxruntime.InferenceSession(_trial(), _quiet(), **providers(device))
        session.run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:  # ONNX Runtime raises many unrelated types
        return _unusable(str(error), said)
    finally:
        onnxruntime.set_default_logger_severity(_WARNING)
    return None if _CUDA in session.get_providers() else _unusable("", said)


def providers(device: Device) -> dict[str, Any]:
    """What an InferenceSession is given to run on a device and to raise where it cannot."""
    if device == "cpu":
        return {"providers": [_CPU]}
    # Full float32, as on the CPU. Looking for the fastest convolution takes long and happens for
    # every new shape, and a detector sees new shapes all the time.
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    number = device.partition(":")[2]
    if number:
        options["device_id"] = number
    return {"providers": [(_CUDA, options), _CPU], "enable_fallback": 0}


def preload() -> str:
    """Load the CUDA libraries that came as packages of pip; what went wrong there, if anything."""
    import onnxruntime

    load = getattr(onnxruntime, "preload_dlls", None)  # from ONNX Runtime 1.21 on
    if load is None:
        return ""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):  # it tells failures by printing
        load()
    return said.getvalue().strip()


def installed() -> dict[str, str]:
    """The versions of ONNX Runtime's packages that are installed, by name.

    More than one is a mistake: they share a folder, and what was installed last wins.
    """
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def in_the_folder() -> str:
    """The package whose files lie in the folder that both packages install into; "" if unknown."""
    try:
        from onnxruntime.capi.build_and_package_info import package_name
    except ImportError:
        return ""
    return str(package_name)


def _wrong_build(device: Device) -> str:
    found = installed()
    if len(found) > 1:
        why = (
            "onnxruntime and onnxruntime-gpu are both installed into one folder, and there the "
            f"files of {in_the_folder() or 'the CPU build'} lie, which has no {_CUDA}"
        )
    elif "onnxruntime-gpu" in found:
        why = f"onnxruntime-gpu {found['onnxruntime-gpu']} has no {_CUDA} on this system"
    else:
        why = "the package onnxruntime is the build for the CPU alone"
    other = pytorch.why_not(device)  # the other way to the device
    return why if other is None else f"{why}, and {other.why}"


def _todo() -> str:
    return "use the device cpu" if tuple(installed()) == ("onnxruntime-gpu",) else REPAIR


def _unusable(why: str, said: str) -> DeviceError:
    reasons = [line for text in (why, said) for line in text.splitlines()[:1]]
    return DeviceError(
        "ONNX Runtime finds no CUDA device that works",
        why="; ".join(reasons) or f"it dropped its {_CUDA} without an error",
        todo="look for the GPU with `nvidia-smi`; `pip install 'onnxruntime-gpu[cuda,cudnn]'` "
        "brings the CUDA libraries; or use the device cpu",
    )


def _quiet() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    return options


def _trial() -> bytes:
    from onnx import TensorProto, helper  # a quarter of a second, for who asks for cuda

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "trial", value[:1], value[1:]
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return content
