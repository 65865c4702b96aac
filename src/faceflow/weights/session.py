"""Open ONNX graphs in ONNX Runtime, the same way for every model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import onnxruntime

from faceflow.errors import DeviceError, WeightsError
from faceflow.system.threads import check_threads
from faceflow.weights.devices import Device, engine, preload, providers

_LOG_FATAL_ONLY = 4  # errors are raised; their twins on stderr hold colour codes
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class Session(Protocol):
    """What is used of a session, whoever runs it."""

    def get_inputs(self) -> list[Any]:
        """What the graph takes: name and shape of each input."""

    def run(self, outputs: Sequence[str] | None, inputs: Mapping[str, Any], /) -> list[Any]:
        """The named outputs, or all, for the named inputs."""


def open_session(
    graph: bytes, *, threads: int | None = None, name: str = "model", device: Device = "cpu"
) -> Session:
    """Start a session for a graph.

    Args:
        graph: ONNX bytes.
        threads: how many CPU threads one call may use; None: one per usable physical core.
        name: the model's name for errors.
        device: where it runs, from :func:`faceflow.weights.devices.resolve`.

    Raises:
        InputError: ``threads`` is below 1 or beyond all machines.
        WeightsError: ONNX Runtime refuses the graph.
        DeviceError: nothing here runs the graph on ``device``.
    """
    check_threads(threads)
    if engine(device) == "torch":
        from faceflow.weights.torch_session import TorchSession  # loads PyTorch

        return TorchSession(graph, device, name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or physical_cores()
    options.inter_op_num_threads = 1  # the graphs are chains, there is nothing to run beside
    options.log_severity_level = _LOG_FATAL_ONLY
    # Threads that wait in a loop for more work take the core from the next session's: finding and
    # embedding a face took four times the CPU time, and on a busy machine the time as well.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device != "cpu":
        preload()
    try:
        session = onnxruntime.InferenceSession(graph, options, **providers(device))
    except Exception as error:  # ONNX Runtime raises many unrelated types
        raise WeightsError(
            f"ONNX Runtime cannot open the graph of {name}",
            why=str(error).splitlines()[0],
            todo=f"run `faceflow models pull {name} --force`",
        ) from error
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise DeviceError(
            f"{name} does not run on {device}",
            why="ONNX Runtime left the device out for it",
            todo="use the device cpu",
        )
    opened: Session = session
    return opened


@cache
def physical_cores() -> int:
    """Physical cores this process may use; its hardware threads where that is unknown.

    Two hardware threads of one core share its multipliers, so a second one only adds cost.
    Read from Linux's topology files; a limit by taskset or cpuset is honoured.
    """
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
    cores = set()
    for cpu in usable:
        try:
            cores.add(Path(_SIBLINGS.format(cpu)).read_text().strip())
        except OSError:
            return len(usable)
    return len(cores)
