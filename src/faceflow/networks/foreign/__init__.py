"""Any ONNX face network: look inside, describe it in TOML, and make it a network of faceflow."""

from __future__ import annotations

from faceflow.networks.foreign.findings import Inspection, Patches
from faceflow.networks.foreign.importing import import_network, inspect
from faceflow.networks.foreign.proposal import propose
from faceflow.networks.foreign.spec_file import OnnxDescription, read_file

__all__ = [
    "Inspection",
    "OnnxDescription",
    "Patches",
    "import_network",
    "inspect",
    "propose",
    "read_file",
]
