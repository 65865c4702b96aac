"""Weights: published files fetched and checked, read safely, built into graphs, cached."""

from __future__ import annotations

from faceflow.weights.checkpoint import Tensors, read_checkpoint
from faceflow.weights.fetch import Progress, pull_member, pull_members
from faceflow.weights.fork_safe import ForkSafeSession
from faceflow.weights.pulling import import_checkpoint, pull
from faceflow.weights.registry import (
    ModelFile,
    ModelState,
    Status,
    load_graphs,
    path,
    record,
    records,
    resolved,
    store,
    verify,
)
from faceflow.weights.source import (
    CheckpointFile,
    Licence,
    OnnxFile,
    Source,
    TrainedHere,
    WheelFile,
)
from faceflow.weights.state_dicts import fit, read_state_dict, tensors_digest

__all__ = [
    "CheckpointFile",
    "ForkSafeSession",
    "Licence",
    "ModelFile",
    "ModelState",
    "OnnxFile",
    "Progress",
    "Source",
    "Status",
    "Tensors",
    "TrainedHere",
    "WheelFile",
    "fit",
    "import_checkpoint",
    "load_graphs",
    "path",
    "pull",
    "pull_member",
    "pull_members",
    "read_checkpoint",
    "read_state_dict",
    "record",
    "records",
    "resolved",
    "store",
    "tensors_digest",
    "verify",
]
