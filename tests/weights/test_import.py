"""A user's checkpoint becomes a model: any container, any head, nothing but the right network."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from faceflow import weights
from faceflow.errors import InputError, UnsafeCheckpointError, WeightsError
from faceflow.weights import CheckpointFile, ModelFile, Status, Tensors, registry
from faceflow.weights.state_dicts import fit, read_state_dict, tensors_digest

SHAPES = {
    "conv1.weight": (4, 1, 3, 3),
    "layer1.0.conv1.weight": (4, 4, 3, 3),
    "layer1.0.bn.running_mean": (4,),
    "fc.weight": (2, 4),
    "fc.bias": (2,),
}
LARGER = SHAPES | {"layer1.1.conv1.weight": (4, 4, 3, 3)}


def state(seed: int = 0, shapes: dict[str, tuple[int, ...]] = SHAPES) -> Tensors:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def model(name: str = "own", shapes: dict[str, tuple[int, ...]] = SHAPES) -> ModelFile:
    return ModelFile(
        name=name,
        title=f"network {name}",
        kind="network",
        sources=(CheckpointFile("own.pth", 0, "made for tests", where="a folder of somebody"),),
        licence=weights.Licence("MIT", "MIT", "nothing", "made for tests"),
        graphs=(name,),
        builder=1,
        build=lambda files: {name: b"".join(t.tobytes() for t in files["own.pth"].values())},
        shapes=lambda: shapes,
    )


@pytest.fixture
def write(tmp_path: Path, torch_files: SimpleNamespace) -> Any:
    """Write a state dict in the container that a file's name stands for."""

    def save(name: str, tensors: Tensors, *, nested: str = "", legacy: bool = False) -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(tensors, path)
            return path
        value: Any = OrderedDict(
            (key, torch_files.tensor(array, str(i)))
            for i, (key, array) in enumerate(tensors.items())
        )
        if nested:
            value = {"epoch": 3, nested: value, "note": "more"}
        path.write_bytes((torch_files.legacy if legacy else torch_files.zip)(value))
        return path

    return save


def imported(file: Path, chosen: ModelFile | None = None) -> bytes:
    chosen = chosen or model()
    weights.import_checkpoint(chosen, file)
    return weights.load_graphs(weights.resolved(chosen))[chosen.name]


def test_every_container_gives_the_same_network(cache: Path, write: Any) -> None:
    tensors = state()
    prefixed = {f"module.{key}": array for key, array in tensors.items()}
    with_head = {f"backbone.{key}": array for key, array in tensors.items()} | {
        "head.weight": np.zeros((9, 2), np.float32),
        "backbone.layer1.0.bn.num_batches_tracked": np.array(5),
    }
    files = [
        write("a.pth", tensors),
        write("b.pt", prefixed, legacy=True),
        write("c.pth.tar", prefixed, nested="state_dict", legacy=True),
        write("d.ckpt", with_head, nested="model"),
        write("e.safetensors", dict(reversed(with_head.items()))),
        write("f.no extension", tensors),
    ]
    expected = b"".join(array.tobytes() for array in tensors.values())
    sums = set()
    for file in files:
        assert imported(file) == expected, file.name
        sums.add(weights.resolved(model()).sources[0].member_sha256)
    assert sums == {tensors_digest(tensors)}


def test_digest_follows_every_number_and_nothing_else() -> None:
    tensors = state()
    digest = tensors_digest(tensors)
    assert tensors_digest(dict(reversed(tensors.items()))) == digest
    assert tensors_digest({k: v.astype(np.float64) for k, v in tensors.items()}) == digest
    for name in tensors:
        changed = {k: v.copy() for k, v in tensors.items()}
        changed[name].flat[-1] = np.nextafter(changed[name].flat[-1], np.float32(np.inf))
        assert tensors_digest(changed) != digest
    # By hand, for one entry.
    one = np.array([1.0, 2.0], np.float32)
    by_hand = hashlib.sha256(b"fc.bias\0(2,)\0" + one.tobytes()).hexdigest()
    assert tensors_digest({"fc.bias": one}) == by_hand


def test_half_precision_is_read(write: Any) -> None:
    halves = {key: array.astype(np.float16) for key, array in state().items()}
    for name in ("half.safetensors", "half.pth"):
        found = fit(read_state_dict(write(name, halves)), SHAPES, model="it")
        for key, array in halves.items():
            np.testing.assert_array_equal(found[key], array)


def test_bfloat16_in_safetensors(tmp_path: Path) -> None:
    values = np.array([1.5, -2.0, 0.15625], np.float32)  # exact in 8 bits of mantissa
    content = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    header = json.dumps({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    path = tmp_path / "b.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    np.testing.assert_array_equal(read_state_dict(path)["x"], values)


@pytest.mark.parametrize("cut", [9, 60, -1])
def test_truncated_safetensors(write: Any, cut: int) -> None:
    path = write("a.safetensors", state())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(WeightsError, match="is damaged"):
        read_state_dict(path)


def test_another_element_type_in_safetensors(tmp_path: Path) -> None:
    header = json.dumps({"x": {"dtype": "U16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "b.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(WeightsError, match="element type U16"):
        read_state_dict(path)


def test_wrong_architecture_is_named(cache: Path, write: Any) -> None:
    tensors = state()
    tensors["fc.weight"] = np.zeros((2, 9), np.float32)
    tensors["layer1.0.se.fc.weight"] = np.zeros((2, 2), np.float32)
    del tensors["conv1.weight"]
    file = write("a.pth", {f"module.{k}": v for k, v in tensors.items()})
    with pytest.raises(WeightsError) as caught:
        weights.import_checkpoint(model(), file)
    for part in (
        "are not those of network own",
        "1 missing: conv1.weight (4, 1, 3, 3)",
        "1 unexpected: layer1.0.se.fc.weight (2, 2)",
        "fc.weight (2, 9) instead of (2, 4)",
    ):
        assert part in str(caught.value)
    assert not cache.exists(), "a failed import leaves no folder"


def test_a_larger_network_of_the_family_is_not_cut_down(cache: Path, write: Any) -> None:
    file = write("a.pth", state(shapes=LARGER))
    others = [model(), model("larger", LARGER)]
    with pytest.raises(WeightsError, match=r"They fit larger.*models import larger"):
        weights.import_checkpoint(model(), file, others=others)
    with pytest.raises(WeightsError, match=r"1 unexpected: layer1\.1\.conv1\.weight"):
        weights.import_checkpoint(model(), file)


def test_two_networks_in_one_file(cache: Path, write: Any) -> None:
    tensors = {f"{part}.{k}": v for part in ("student", "teacher") for k, v in state().items()}
    with pytest.raises(WeightsError, match=r"2 times.*'student\.', 'teacher\.'.*one of them"):
        weights.import_checkpoint(model(), write("a.pth", tensors))


@settings(max_examples=30, deadline=None)
@given(
    prefix=st.lists(st.sampled_from(["module", "conv1", "layer1", "0", "fc", "x"]), max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_any_prefix_and_any_order(prefix: list[str], order: Any) -> None:
    tensors = state()
    renamed = [(".".join([*prefix, key]), array) for key, array in tensors.items()]
    order.shuffle(renamed)
    found = fit(dict(renamed), SHAPES, model="it")
    assert list(found) == list(SHAPES)
    assert all(found[key] is tensors[key] for key in tensors)


def test_nothing_in_common(cache: Path, write: Any) -> None:
    file = write("a.pth", {"encoder.q": np.zeros((2, 2), np.float32)})
    with pytest.raises(WeightsError, match=r"5 missing: conv1\.weight .*1 unexpected: encoder\.q"):
        weights.import_checkpoint(model(), file)


def test_quantised_tensors(cache: Path, write: Any) -> None:
    tensors = state() | {"fc.bias": np.zeros(2, np.int8)}
    with pytest.raises(WeightsError, match=r"fc\.bias holds int8"):
        weights.import_checkpoint(model(), write("a.pth", tensors))


def test_nothing_is_executed(cache: Path, tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    file = tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(UnsafeCheckpointError):
        weights.import_checkpoint(model(), file)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>not found</html>", b"\x08" * 40])
def test_no_checkpoint_at_all(cache: Path, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(content)
    with pytest.raises(WeightsError):
        weights.import_checkpoint(model(), file)
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.import_checkpoint(model(), tmp_path)
    assert not cache.exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("fail_at", ["own-", "manifest"])
def test_a_failed_import_leaves_the_cache_as_it_was(
    cache: Path, write: Any, monkeypatch: pytest.MonkeyPatch, fail_at: str
) -> None:
    weights.import_checkpoint(model(), write("a.pth", state(0)))
    before = contents(weights.path(model()))
    real = registry.atomic_write

    def full(path: Path, **options: Any) -> Any:
        if path.name.startswith(fail_at):
            raise OSError(28, "No space left on device")
        return real(path, **options)

    monkeypatch.setattr(registry, "atomic_write", full)
    with pytest.raises(WeightsError, match="the disk is full"):
        weights.import_checkpoint(model(), write("b.pth", state(1)))
    assert contents(weights.path(model())) == before
    assert weights.verify(weights.resolved(model())).status is Status.READY


def test_the_next_import_replaces_the_last(cache: Path, write: Any) -> None:
    first = imported(write("a.pth", state(0)))
    known = weights.resolved(model())
    second = imported(write("b.pth", state(1)))
    assert first != second
    assert len(list(weights.path(model()).glob("*.onnx"))) == 1
    # Whoever holds the first one's sum is not given the second one's numbers.
    with pytest.raises(WeightsError, match="another checkpoint was imported since"):
        weights.load_graphs(known)
    assert weights.load_graphs(model())["own"] == second, "without a sum, what is there is right"


def test_not_imported_yet(cache: Path) -> None:
    assert weights.verify(model()).status is Status.MISSING
    assert weights.resolved(model()).sources[0].member_sha256 == ""
    with pytest.raises(WeightsError, match="run `faceflow models import own FILE`"):
        weights.load_graphs(model())
    with pytest.raises(WeightsError, match=r"only at a folder of somebody.*models import own FILE"):
        weights.pull(model())


def test_pull_from_a_file_imports_it(cache: Path, write: Any) -> None:
    file = write("own.pth", state())
    weights.pull(model(), from_file=file.parent)
    assert weights.pull(model()) == weights.path(model()), "ready is left alone"


def test_a_damaged_manifest(cache: Path, write: Any) -> None:
    weights.import_checkpoint(model(), write("a.pth", state()))
    manifest = weights.path(model()) / "manifest.json"
    for content in (b"", b"[]", b'{"sources": 5, "builder": 1, "graphs": {}}'):
        manifest.write_bytes(content)
        assert weights.resolved(model()).sources[0].member_sha256 == ""
        assert weights.verify(model()).status is Status.DAMAGED


def test_a_model_of_a_wheel_takes_no_checkpoint(cache: Path, toy: Any, write: Any) -> None:
    with pytest.raises(InputError, match="takes no other weights"):
        weights.import_checkpoint(toy.model, write("a.pth", state()))


def test_an_older_builder_asks_to_import_again(cache: Path, write: Any) -> None:
    weights.import_checkpoint(model(), write("a.pth", state()))
    newer = replace(weights.resolved(model()), builder=2)
    assert weights.verify(newer).status is Status.OUTDATED
    with pytest.raises(WeightsError, match="models import own FILE"):
        weights.load_graphs(newer)
