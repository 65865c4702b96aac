"""A network of one's own through the commands: inspect, import, enroll, identify."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceflow import models
from faceflow.analyzer import FaceAnalyzer


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Colours averaged over 7 x 7 cells, mixed, and a linear layer: enough to tell drawn faces."""
    rng = np.random.default_rng(0)
    constants = {
        "mix": rng.standard_normal((24, 3, 1, 1)),
        "fc": rng.standard_normal((64, 24 * 49)) / 30,
    }
    graph = helper.make_graph(
        [
            helper.make_node(
                "AveragePool", ["x"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]
            ),
            helper.make_node("Conv", ["cells", "mix"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["maps"]),
            helper.make_node("Flatten", ["maps"], ["flat"]),
            helper.make_node("Gemm", ["flat", "fc"], ["out"], transB=1),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 64])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    path = tmp_path / "tiny.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(model)
    return path


@pytest.fixture
def cache(analyzer: FaceAnalyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds the detector alone."""
    folder = tmp_path / "cache"
    shutil.copytree(models.path("mtcnn"), folder / "models" / "mtcnn")
    monkeypatch.setenv("FACEFLOW_CACHE", str(folder))
    return folder


def completed(text: str) -> str:
    return text.replace('weights = ""', 'weights = "ours"').replace(
        'training_data = ""', 'training_data = "nothing, random numbers"'
    )


def test_from_a_file_to_an_answer(
    run, network: Path, cache: Path, drawn: Path, tmp_path: Path
) -> None:
    told = run("models", "inspect", network)
    assert "may be the patches: maps (Tanh), 7x7 of 24 numbers" in told.err
    assert tomllib.loads(told.out)["patches"] == "maps"
    as_json = run("models", "inspect", network, "--json").json
    assert as_json["description"].strip() == told.out.strip()
    assert as_json["patches"][0]["linear"] is True

    spec = tmp_path / "network.toml"
    spec.write_text(told.out)
    assert (
        "field licence.weights"
        in run("models", "import", "tiny", network, "--spec", spec, code=2).err
    )
    spec.write_text(completed(told.out))
    made = run("models", "import", "tiny", network, "--spec", spec)
    assert "trained on: nothing, random numbers" in made.err
    assert "64 numbers and 7x7x24 patches" in made.out
    again = run("models", "import", "tiny", network, "--spec", spec, "--json").json
    assert again["digest"][:12] in made.out

    listed = {one["model"]: one for one in run("models", "list", "--json").json["models"]}
    assert listed["tiny"]["status"] == "ready"
    assert listed["tiny"]["licence"]["weights"] == "ours"
    run("models", "verify", "tiny")

    gallery = tmp_path / "people.faceflow"
    people = [sorted(folder.glob("*.png")) for folder in sorted((drawn / "people").iterdir())[:2]]
    for one, _ in people:
        run("enroll", one, "-p", one.parent.name, "-g", gallery, "--network", "tiny", "--offline")
    queries = [two for _, two in people]
    options = ["-g", gallery, "--offline", "--weighting", "lmk", "--alpha", "0.5", "--json"]
    answers = run("identify", *queries, *options).lines
    assert all(len(a["matches"]) == 2 and a["matches"][0]["emd"] is not None for a in answers)
    itself = run("identify", people[0][0], "-g", gallery, "--json").lines[0]["matches"][0]
    assert itself["person"] == people[0][0].parent.name
    assert itself["score"] > 0.95

    # The same network scaled otherwise is another one for the gallery.
    spec.write_text(completed(told.out).replace("std = [127.5", "std = [128.0"))
    run("models", "import", "tiny", network, "--spec", spec)
    err = run("identify", queries[0], "-g", gallery, "--offline", code=5).err
    assert "enroll the photos again" in err
    shutil.rmtree(cache / "models" / "tiny")
    run("identify", queries[0], "-g", gallery, "--offline", code=2)


def test_what_cannot_be_imported(run, network: Path, cache: Path, tmp_path: Path) -> None:
    assert "models inspect" in run("models", "import", "tiny", network, code=2).err
    spec = tmp_path / "network.toml"
    spec.write_text(completed(run("models", "inspect", network).out))
    other = network.with_suffix(".pth")
    other.write_bytes(network.read_bytes())
    refused = run("models", "import", "arcface", other, "--spec", spec, code=2).err
    assert "--spec describes an .onnx file" in refused
    run("models", "import", "mtcnn", network, "--spec", spec, code=2)
    network.write_bytes(network.read_bytes()[:100])
    run("models", "inspect", network, code=6)
    run("models", "import", "tiny", network, "--spec", spec, code=6)
    assert not (cache / "models" / "tiny").exists()
