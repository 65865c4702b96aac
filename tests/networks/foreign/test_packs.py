"""A pack of InsightFace's layout, made here: its detector and its network become models."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceflow import networks
from faceflow.errors import InputError, WeightsError
from faceflow.faces.detectors import load_detector
from faceflow.networks.foreign import Imported, import_pack


@pytest.fixture
def pack(scrfd_file: Callable[..., bytes], make: Callable[[str], Path], tmp_path: Path) -> Path:
    folder = tmp_path / "Buffalo_L"
    folder.mkdir()
    (folder / "det_10g.onnx").write_bytes(scrfd_file())
    shutil.copy(make("flatten_gemm"), folder / "w600k_r50.onnx")
    (folder / "genderage.onnx").write_bytes(b"never opened")
    return folder


def test_a_pack(pack: Path, cache: Path) -> None:
    found, left = import_pack(pack)
    assert found == (
        Imported("det_10g.onnx", "detector", "scrfd-10g"),
        Imported("w600k_r50.onnx", "network", "buffalo_l"),
    )
    assert left == ("genderage.onnx",)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    assert load_detector("scrfd-10g").name == "scrfd-10g"
    load_detector("scrfd-10g").detect(image)
    network = networks.load_network("buffalo_l")
    assert (network.spec.mean, network.spec.std) == ((127.5,) * 3, (127.5,) * 3)
    assert network.spec.template == "arcface-112"
    assert len(network.embed(image[None, :112, :112].repeat(2, axis=1)[:, :112, :112])) == 1


def test_a_file_that_is_not_what_its_name_says(pack: Path, cache: Path) -> None:
    (pack / "det_10g.onnx").write_bytes((pack / "w600k_r50.onnx").read_bytes())
    with pytest.raises(WeightsError, match="no face detector"):
        import_pack(pack)


def test_what_is_no_pack(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match=r"known by name: .*det_10g\.onnx"):
        import_pack(tmp_path)
    with pytest.raises(InputError, match="cannot be read as a folder"):
        import_pack(tmp_path / "none")
