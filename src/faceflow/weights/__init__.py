"""Weights: published files fetched and checked, read safely, built into graphs, cached."""

from __future__ import annotations

from faceflow.weights.cache import atomic_write, cache_dir
from faceflow.weights.checkpoint import Tensors, read_checkpoint
from faceflow.weights.fetch import Progress, pull_member, pull_members
from faceflow.weights.registry import (
    ModelFile,
    ModelState,
    Status,
    load_graphs,
    path,
    pull,
    records,
    store,
    verify,
)
from faceflow.weights.source import Licence, Source, TrainedHere, WheelFile

__all__ = [
    "Licence",
    "ModelFile",
    "ModelState",
    "Progress",
    "Source",
    "Status",
    "Tensors",
    "TrainedHere",
    "WheelFile",
    "atomic_write",
    "cache_dir",
    "load_graphs",
    "path",
    "pull",
    "pull_member",
    "pull_members",
    "read_checkpoint",
    "records",
    "store",
    "verify",
]
