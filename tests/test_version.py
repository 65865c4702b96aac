"""The version is written once, in the package; the build reads it there."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import faceflow

ROOT = Path(__file__).resolve().parents[1]


def test_installed_metadata_tells_the_same() -> None:
    assert importlib.metadata.version("faceflow") == faceflow.__version__, "install again"


def test_the_project_file_has_no_version_of_its_own() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in told["project"]
    assert "version" in told["project"]["dynamic"]
    source = told["tool"]["scikit-build"]["metadata"]["version"]
    assert source["provider"] == "scikit_build_core.metadata.regex"
    written = re.findall(r'^__version__ = "(.+)"$', (ROOT / source["input"]).read_text(), re.M)
    assert written == [faceflow.__version__]
