"""Open ONNX graphs in ONNX Runtime, the same way for every model."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import onnxruntime

from faceflow.errors import WeightsError
from faceflow.system.threads import check_threads

_LOG_FATAL_ONLY = 4  # errors are raised; their twins on stderr hold colour codes
_SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def open_session(
    graph: bytes, *, threads: int | None = None, name: str = "model"
) -> onnxruntime.InferenceSession:
    """Start a CPU session for a graph.

    Args:
        graph: ONNX bytes.
        threads: how many threads one call may use; None: one per usable physical core.
        name: the model's name for errors.

    Raises:
        InputError: ``threads`` is below 1 or beyond all machines.
        WeightsError: ONNX Runtime refuses the graph.
    """
    check_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or physical_cores()
    options.inter_op_num_threads = 1  # the graphs are chains, there is nothing to run beside
    options.log_severity_level = _LOG_FATAL_ONLY
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many unrelated types
        raise WeightsError(
            f"ONNX Runtime cannot open the graph of {name}",
            why=str(error).splitlines()[0],
            todo=f"run `faceflow models pull {name} --force`",
        ) from error


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
