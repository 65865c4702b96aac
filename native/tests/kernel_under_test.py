"""A pytest plugin: faceflow uses the kernel at $KERNEL_UNDER_TEST instead of the installed one."""

from __future__ import annotations

import importlib.util
import os
import sys

import faceflow

_spec = importlib.util.spec_from_file_location("faceflow._kernel", os.environ["KERNEL_UNDER_TEST"])
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
sys.modules["faceflow._kernel"] = _module
faceflow._kernel = _module  # type: ignore[attr-defined]
