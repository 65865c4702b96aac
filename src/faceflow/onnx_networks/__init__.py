"""Any ONNX face network: look inside, describe it in TOML, and make it a network of faceflow."""

from __future__ import annotations

from faceflow.onnx_networks.findings import Inspection, Patches
from faceflow.onnx_networks.importing import import_network, inspect
from faceflow.onnx_networks.proposal import propose
from faceflow.onnx_networks.spec_file import OnnxDescription, read_file

__all__ = [
    "Inspection",
    "OnnxDescription",
    "Patches",
    "import_network",
    "inspect",
    "propose",
    "read_file",
]
