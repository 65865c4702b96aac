"""Whole networks: they learn, and neither kills nor processes change what they learn."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow.errors import FaceflowError, InputError, MissingExtraError

torch = pytest.importorskip("torch", reason="PyTorch (extra train) is not installed")

from faceflow.training.network import TrainedNetwork, freeze, train_network  # noqa: E402
from faceflow.training.recipe import NetworkRecipe, RunOptions  # noqa: E402
from faceflow.training.showing import Steps, cover_of  # noqa: E402
from faceflow.training.torch_loss import ArcFaceMargin  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))

from tiny import RECIPE, Tiny, make_crops  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(one: TrainedNetwork, other: TrainedNetwork) -> None:
    assert one.losses == other.losses
    assert one.best == other.best
    assert [e.covered for e in one.history] == [e.covered for e in other.history]
    assert [e.margin for e in one.history] == [e.margin for e in other.history]
    for name, value in one.tensors.items():
        np.testing.assert_array_equal(value, other.tensors[name])


def test_margin_is_the_loss_in_numpy() -> None:
    from faceflow.training.loss import arcface

    rng = np.random.default_rng(0)
    embedding, centres = rng.standard_normal((9, 5)), rng.standard_normal((4, 5))
    embedding[0], labels = -centres[2], rng.integers(4, size=9)
    labels[0] = 2  # beyond the turning point
    values = torch.tensor(embedding, dtype=torch.float32, requires_grad=True)
    margin = ArcFaceMargin(torch.tensor(centres, dtype=torch.float32), 30, 0.5)
    loss = margin(values, torch.tensor(labels))
    loss.backward()
    expected = arcface(embedding, centres, labels)
    assert loss.item() == pytest.approx(expected.loss, rel=1e-4)
    np.testing.assert_allclose(values.grad[1:], expected.d_embedding[1:], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(margin.centres.grad, expected.d_centres, rtol=1e-2, atol=1e-3)


def test_learns_and_logs(tmp_path: Path) -> None:
    found = train_network(make_crops(), Tiny(), tmp_path, replace(RECIPE, epochs=8, patience=8))
    assert np.mean(found.losses[-3:]) < np.mean(found.losses[:3]) - 1
    assert found.history[found.best].covered >= found.history[0].covered
    assert found.people + found.validation_people == 12
    with (tmp_path / "log.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == list(range(len(found.history)))
    assert float(lines[1]["loss"]) == pytest.approx(
        np.mean(found.losses[: len(found.losses) // 8]), rel=1e-4
    )


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 3, 5])
def test_kill_and_resume_is_bit_for_bit(tmp_path: Path, at: int) -> None:
    whole = train_network(make_crops(), Tiny(), tmp_path / "a", RECIPE)
    steps = len(whole.losses) // RECIPE.epochs

    def kill(step: int, loss: float) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train_network(
            make_crops(),
            Tiny(),
            tmp_path / "b",
            RECIPE,
            options=RunOptions(save_every=2),
            progress=kill,
        )
    begun: list[int] = []
    resumed = train_network(
        make_crops(),
        Tiny(seed=5),  # the checkpoint's weights count, not those it is given
        tmp_path / "b",
        RECIPE,
        progress=lambda step, _: begun.append(step),
    )
    same(whole, resumed)
    assert steps == 3
    in_epoch = (at - 1) % steps  # done and maybe saved before the kill
    assert begun[0] == at - in_epoch + in_epoch // 2 * 2
    with (tmp_path / "b" / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(resumed.history)


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    whole = train_network(make_crops(), Tiny(), tmp_path, RECIPE)

    def no(*_: object) -> None:
        raise AssertionError("nothing is left to do")

    same(whole, train_network(make_crops(), Tiny(), tmp_path, RECIPE, progress=no))


def test_loading_workers_change_nothing(tmp_path: Path) -> None:
    how = replace(RECIPE, epochs=1)
    same(
        train_network(make_crops(), Tiny(), tmp_path / "a", how),
        train_network(make_crops(), Tiny(), tmp_path / "b", how, options=RunOptions(workers=1)),
    )


def test_accumulation_and_processes_give_the_same_steps(tmp_path: Path) -> None:
    def alone(folder: Path, parts: int) -> dict:
        model = Tiny()
        model.drop.p = 0.0  # as in the worker
        how = replace(RECIPE, epochs=2, accumulate=parts)
        found = train_network(make_crops(), model, folder, how)
        return {
            "processes": 1,
            "losses": found.losses,
            "margin": [epoch.margin for epoch in found.history],
        }

    worker = Path(__file__).parent / "workers" / "train_tiny.py"
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*start, str(worker), str(tmp_path), "2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    together = json.loads((tmp_path / "answer.json").read_text())
    answers = [alone(tmp_path / "a", 1), alone(tmp_path / "b", 3), together]
    assert [answer["processes"] for answer in answers] == [1, 1, 2]
    for other in answers[1:]:
        np.testing.assert_allclose(other["losses"], answers[0]["losses"], rtol=1e-4)
        np.testing.assert_allclose(other["margin"], answers[0]["margin"], atol=1e-4)


def test_mixed_precision_is_close(tmp_path: Path) -> None:
    how = replace(RECIPE, epochs=1)
    exact = train_network(make_crops(), Tiny(), tmp_path / "a", how)
    mixed = train_network(make_crops(), Tiny(), tmp_path / "b", replace(how, precision="bfloat16"))
    assert mixed.losses != exact.losses
    np.testing.assert_allclose(mixed.losses, exact.losses, rtol=0.05)
    with pytest.raises(InputError, match="float16 needs a CUDA device"):
        train_network(make_crops(), Tiny(), tmp_path / "c", replace(how, precision="float16"))


def test_frozen_parts_stay(tmp_path: Path) -> None:
    model, before = Tiny(), Tiny().state_dict()
    train_network(make_crops(), model, tmp_path, replace(RECIPE, epochs=1, freeze=("conv1",)))
    after = model.state_dict()
    assert torch.equal(before["conv1.weight"], after["conv1.weight"])
    assert not torch.equal(before["fc.weight"], after["fc.weight"])
    with pytest.raises(InputError, match=r"no part 'conv9'.*conv1, drop, fc"):
        freeze(Tiny(), ("conv9",))
    with pytest.raises(InputError, match="nothing is left"):
        freeze(Tiny(), ("conv1", "fc"))


def test_another_run_in_the_folder(tmp_path: Path) -> None:
    train_network(make_crops(), Tiny(), tmp_path, replace(RECIPE, epochs=1))
    with pytest.raises(InputError, match="holds another run"):
        train_network(make_crops(), Tiny(), tmp_path, replace(RECIPE, epochs=2))
    (tmp_path / "last.pt").write_bytes(b"torn")
    with pytest.raises(FaceflowError, match="cannot be read"):
        train_network(make_crops(), Tiny(), tmp_path, replace(RECIPE, epochs=1))


def test_divergence_is_told(tmp_path: Path) -> None:
    with pytest.raises(FaceflowError, match="diverged"):
        train_network(make_crops(), Tiny(), tmp_path, replace(RECIPE, lr=1e30))


@pytest.mark.parametrize(
    ("people", "photos", "changes", "told"),
    [
        (12, 1, {}, "too few people to judge"),
        (3, 4, {"validation_share": 0.99}, "too few people to train"),
        (12, 4, {"batch_size": 500}, "a batch of 500 needs more"),
        (12, 4, {"covers": ("beard",)}, "no cover is called"),
    ],
)
def test_too_little(tmp_path: Path, people: int, photos: int, changes: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        train_network(make_crops(people, photos), Tiny(), tmp_path, replace(RECIPE, **changes))


def test_every_face_is_shown_once_by_somebody() -> None:
    how = NetworkRecipe(batch_size=8, accumulate=2)
    chosen = np.arange(100, 140)
    mine = [list(Steps(chosen, how, rank=r, processes=2).parts(3)) for r in range(2)]
    alone = [shown for part in Steps(chosen, how).parts(3) for shown in part]
    assert sorted(s for rank in mine for part in rank for s in part) == sorted(alone)
    assert sorted(index for _, index in alone) == chosen.tolist()
    assert alone != [s for part in Steps(chosen, how).parts(4) for s in part]
    later = list(Steps(chosen, how).parts(3, first=2))
    assert later == list(Steps(chosen, how).parts(3))[4:]
    with pytest.raises(InputError, match="cannot be shared out"):
        Steps(chosen, how, processes=3)


def test_half_the_faces_are_covered_anew_in_each_epoch() -> None:
    how = NetworkRecipe()
    first = [cover_of(how, 1, n) for n in range(1000)]
    assert 430 < sum(cover != "clean" for cover, _ in first) < 570
    assert {cover for cover, _ in first} == {"clean", "mask", "sunglasses"}
    assert first == [cover_of(how, 1, n) for n in range(1000)]
    assert first != [cover_of(how, 2, n) for n in range(1000)]


def test_tensorboard_is_asked_for_by_name(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboard") is not None:
        pytest.skip("tensorboard is installed here")
    with pytest.raises(MissingExtraError, match="pip install tensorboard"):
        train_network(make_crops(), Tiny(), tmp_path, RECIPE, options=RunOptions(tensorboard=True))
