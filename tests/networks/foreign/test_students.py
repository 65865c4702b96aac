"""Students of networks that were imported: their last layer, and the way to another machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from faceflow import networks
from faceflow.arrays import unit
from faceflow.errors import InputError, WeightsError
from faceflow.features import answers_for
from faceflow.networks.foreign import OnnxDescription, import_network, inspect
from faceflow.networks.students import export_student, import_student
from faceflow.training.export import save_student
from faceflow.weights import Licence, TrainedHere

Build = Callable[..., Path]


def describe(file: Path) -> OnnxDescription:
    found = inspect(file)
    return OnnxDescription(
        title="A small one",
        input_size=found.input_size,
        colour="rgb",
        mean=(127.5,) * 3,
        std=(127.5,) * 3,
        template="arcface-112",
        embedding=found.embeddings[0][0],
        patches=found.patches[0].tensor,
        licence=Licence("not stated", "ours", "none, noise", "made for a test"),
    )


def crops(n: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (n, 112, 112, 3), dtype=np.uint8)


def layer_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = networks.last_layer(name)
    return weight.transpose(0, 2, 1).reshape(len(bias), -1).copy(), bias.copy()


def a_student(name: str, teacher: str, change: float = 0.01) -> networks.NetworkSpec:
    weight, bias = layer_of(teacher)
    rng = np.random.default_rng(0)
    weight += np.float32(change * weight.std()) * rng.standard_normal(weight.shape, np.float32)
    tensors = {"fc.weight": weight, "fc.bias": bias}
    return save_student(name, teacher, tensors, trained_on="2 faces", layer=True)


@pytest.mark.parametrize("kind", ["mobile", "average", "nhwc", "flatten_gemm", "one_at_a_time"])
def test_the_layer_in_the_graph_is_the_one_it_was_given(
    make: Build, cache: Path, kind: str
) -> None:
    options = {"batch": 1} if kind == "one_at_a_time" else {}
    file = make(kind, **options)
    teacher = import_network("teacher", file, describe(file))
    weight, bias = layer_of("teacher")
    tensors = {"fc.weight": weight, "fc.bias": bias}
    made = save_student("pupil", "teacher", tensors, trained_on="nothing", layer=True)
    assert networks.spec("pupil") == made
    assert (made.teacher, made.channels) == (teacher.digest, teacher.channels)
    assert made.digest != teacher.digest
    assert isinstance(made.source, TrainedHere)
    assert made.source.patches == teacher.digest
    faces = crops(3)
    one, other = (networks.load_network(n).embed(faces) for n in ("teacher", "pupil"))
    np.testing.assert_array_equal(one.patches, other.patches)
    np.testing.assert_allclose(one.embedding, other.embedding, atol=2e-6)
    assert answers_for(other.digest) == one.digest
    # Another layer gives what that layer gives.
    a_student("moved", "teacher", 0.2)
    weight, bias = layer_of("moved")
    maps = one.raw_patches.transpose(0, 2, 1).reshape(3, -1)
    moved = networks.load_network("moved").embed(faces)
    np.testing.assert_allclose(moved.embedding, unit(maps @ weight.T + bias), atol=1e-5)
    assert np.abs(moved.embedding - one.embedding).max() > 1e-3


@pytest.fixture
def written(make: Build, cache: Path, tmp_path: Path) -> tuple[Path, str]:
    file = make("mobile")
    import_network("teacher", file, describe(file))
    a_student("pupil", "teacher")
    place = tmp_path / "pupil.safetensors"
    return place, export_student("pupil", place)


def test_there_and_back(written: tuple[Path, str]) -> None:
    place, sha256 = written
    assert hashlib.sha256(place.read_bytes()).hexdigest() == sha256
    pupil = networks.spec("pupil")
    again = import_student("again", str(place), sha256=sha256.upper())
    assert (again.digest, again.teacher) == (pupil.digest, pupil.teacher)
    assert again.licence == pupil.licence
    assert networks.graph("again") == networks.graph("pupil")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_it_is_fetched_with_its_sum_alone(written: tuple[Path, str], server: str) -> None:
    place, sha256 = written
    url = f"{server}/{place.name}"
    told: list[str] = []
    found = import_student("fetched", url, sha256=sha256, progress=told.append)
    assert found.digest == networks.spec("pupil").digest
    assert told[0] == f"fetching {url}"
    with pytest.raises(InputError, match="only with the sum"):
        import_student("other", url)
    for place_again in (url, str(place)):
        with pytest.raises(WeightsError, match="not the file that was meant"):
            import_student("other", place_again, sha256="0" * 64)
    with pytest.raises(WeightsError, match="404"):
        import_student("other", f"{server}/none", sha256=sha256)
    assert networks.find("other") is None


def changed(place: Path, to: Path, **changes: Any) -> str:
    tensors = safetensors.numpy.load_file(place)
    for name, change in changes.items():
        key = name.replace("_", ".")
        tensors[key] = change(tensors[key])
    safetensors.numpy.save_file(tensors, to)
    return str(to)


def test_files_that_are_no_students(
    written: tuple[Path, str], make: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = written
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="is no student"):
        import_student("x", str(bad))
    safetensors.numpy.save_file({"fc.weight": np.zeros(3, np.float32)}, bad)
    with pytest.raises(WeightsError, match="is no student"):
        import_student("x", str(bad))
    other = changed(place, bad, fc_weight=lambda w: w * np.float32(1.5))
    with pytest.raises(WeightsError, match="not what was trained"):
        import_student("x", other)
    for change in (lambda w: w[:, 1:].copy(), lambda w: w * np.nan, lambda w: w.astype(np.float64)):
        with pytest.raises(WeightsError, match="does not fit its teacher"):
            import_student("x", changed(place, bad, fc_weight=change))
    with pytest.raises(WeightsError, match=r"cannot be read|no such|not exist"):
        import_student("x", str(tmp_path / "none"))
    with pytest.raises(InputError, match="teacher is no student"):
        export_student("teacher", bad)
    with pytest.raises(InputError, match="model of faceflow's own"):
        import_student("mtcnn", str(place))
    # Where its teacher is not, or is another network of that name, it is of no use.
    monkeypatch.setenv("FACEFLOW_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(WeightsError, match=r"the teacher of .* is not here \(teacher, digest"):
        import_student("x", str(place))
