"""Fuzz target: the inspection of ONNX networks.

Parsing and all refusals run in this process, without limits. What they let through is run in the
child process, as users do, because ONNX Runtime may hang or crash on it; that must cost an error.
"""

from __future__ import annotations

import tomllib

from faceflow.errors import FaceflowError
from faceflow.networks.foreign.apart import look
from faceflow.networks.foreign.findings import from_values
from faceflow.networks.foreign.graph import read_graph
from faceflow.networks.foreign.proposal import propose
from faceflow.system import child
from faceflow.system.child import Limits

_LIMITS = Limits(seconds=15, cpu_seconds=5, memory=1500 * 2**20, answer=2**20)


def one(data: bytes) -> None:
    """A description that is TOML, or a FaceflowError with a text fit for a terminal."""
    try:
        read_graph(data, "x.onnx")
        arguments = {"name": "x.onnx", "embedding": None}
        answer = child.run(look, data, arguments, what="x.onnx", limits=_LIMITS)
        text = propose(from_values(answer.value))
    except FaceflowError as error:
        assert str(error).isprintable(), "an error's text holds control codes"
        assert len(str(error)) < 2000, "an error's text has no end"
        assert "its reader failed" not in str(error), str(error)  # an error of ours in the child
        return
    assert tomllib.loads(text)["patches"]
