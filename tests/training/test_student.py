"""Students: they learn to answer for their teacher, and no kill changes what they learn."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceflow.arrays import unit
from faceflow.errors import FaceflowError, InputError
from faceflow.training.recipe import StudentRecipe, recipe_from
from faceflow.training.samples import Look, Samples, drawn_looks
from faceflow.training.student import TrainedStudent, first_clean, train_student
from faceflow.training.student_layer import BIAS, WEIGHT, LayerLearner, answer_loss

HOW = StudentRecipe(
    first="fc",
    epochs=6,
    patience=6,
    layer_step=0.1,
    warm_up=4,
    validation_share=0.3,
    batch_size=16,
    share=1.0,
    clean_loss=1.0,
)
Make = Callable[..., Samples]


def learner(how: StudentRecipe = HOW, seed: int = 1) -> LayerLearner:
    rng = np.random.default_rng(seed)
    return LayerLearner(rng.standard_normal((16, 64)) / 8, np.zeros(16), how)


def same(one: TrainedStudent, other: TrainedStudent) -> None:
    assert one.losses == other.losses
    assert one.best == other.best
    assert [e.covered for e in one.history] == [e.covered for e in other.history]
    assert [e.margin for e in one.history] == [e.margin for e in other.history]
    assert one.tensors.keys() == other.tensors.keys()
    for name, value in one.tensors.items():
        np.testing.assert_array_equal(value, other.tensors[name])


def test_loss_by_hand_and_its_gradient_by_differences() -> None:
    rng = np.random.default_rng(0)
    embedding, targets = rng.standard_normal((5, 7)), unit(rng.standard_normal((4, 7)))
    labels = np.array([0, 3, 1, 1, 2])
    found = answer_loss(embedding, targets, labels, scale=20, near=2)
    by_hand = 0.0
    for row, label in zip(embedding, labels, strict=True):
        cosine = [float(row @ t / np.linalg.norm(row) / np.linalg.norm(t)) for t in targets]
        odds = [np.exp(20 * c) for c in cosine]
        by_hand += -np.log(odds[label] / sum(odds)) + 2 * (1 - cosine[label])
    assert found.loss == pytest.approx(by_hand / 5, rel=1e-5)
    step = 1e-5
    for place in ((0, 0), (3, 4), (4, 6)):
        more, less = embedding.copy(), embedding.copy()
        more[place] += step
        less[place] -= step
        slope = (
            answer_loss(more, targets, labels, scale=20, near=2).loss
            - answer_loss(less, targets, labels, scale=20, near=2).loss
        ) / (2 * step)
        assert found.d_embedding[place] == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_it_learns_to_look_away_from_what_covers_drown(make_samples: Make, tmp_path: Path) -> None:
    found = train_student(make_samples(), learner(), tmp_path, HOW)
    start, best = found.history[0], found.history[found.best]
    assert found.best
    assert best.covered > start.covered + 0.1
    assert np.mean(found.losses[-5:]) < np.mean(found.losses[:5])
    assert found.people + found.validation_people == 60
    with (tmp_path / "log.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == list(range(len(found.history)))


def test_what_loses_clean_faces_is_not_kept(make_samples: Make, tmp_path: Path) -> None:
    found = train_student(make_samples(), learner(), tmp_path, replace(HOW, clean_loss=0.1))
    kept = found.history[found.best]
    assert kept.clean >= found.history[0].clean - 0.1
    better = [epoch for epoch in found.history if epoch.covered > kept.covered]
    assert better
    assert all(epoch.clean < found.history[0].clean - 0.1 for epoch in better)


def test_a_student_goes_a_share_of_the_way(make_samples: Make, tmp_path: Path) -> None:
    """The mean of the teacher's weights and the trained ones; the training stays as it is."""
    samples, start = make_samples(), learner().tensors()
    how = replace(HOW, epochs=1)
    ends = [
        train_student(samples, learner(), tmp_path / str(share), replace(how, share=share))
        for share in (1.0, 0.25, 0.0)
    ]
    assert ends[0].losses == ends[1].losses == ends[2].losses
    whole, quarter = ends[0].tensors[WEIGHT], ends[1].tensors[WEIGHT]
    assert ends[0].best == ends[1].best == 1
    np.testing.assert_allclose(quarter - start[WEIGHT], (whole - start[WEIGHT]) / 4, atol=1e-6)
    assert ends[2].history[1].margin == ends[2].history[0].margin
    assert ends[2].best == 0


def test_the_gallery_is_the_teachers(make_samples: Make, tmp_path: Path) -> None:
    """A student that turns the whole space round finds nobody, however consistent it is."""
    samples = make_samples()

    class Turning(LayerLearner):
        def step(self, maps, labels, targets, rate) -> float:
            self._values[WEIGHT][:] = np.roll(self._values[WEIGHT], 1, axis=0)
            return 1.0

        def towards(self, share):
            return self

    turning = Turning(*[learner().tensors()[name] for name in (WEIGHT, BIAS)], HOW)
    found = train_student(samples, turning, tmp_path, replace(HOW, epochs=1))
    assert found.best == 0  # the teacher stays
    assert found.history[0].clean > 0.9
    assert found.history[1].clean < 0.3


class Killed(BaseException):
    pass


def kill_and_resume(
    folder: Path, samples: Samples, make: Callable[[int], object], how: StudentRecipe, at: int
) -> None:
    whole = train_student(samples, make(1), folder / "a", how)

    def kill(done: int, total: int, loss: float) -> None:
        assert total == len(whole.losses)
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        train_student(samples, make(1), folder / "b", how, save_every=2, progress=kill)
    begun: list[int] = []
    resumed = train_student(
        samples,
        make(1),
        folder / "b",
        how,
        progress=lambda done, *_: begun.append(done),
    )
    assert 1 < begun[0] <= at + 1
    same(whole, resumed)
    with (folder / "b" / "log.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(resumed.history)

    def no(*_: object) -> None:
        raise AssertionError("nothing is left to do")

    same(whole, train_student(samples, make(1), folder / "b", how, progress=no))


@pytest.mark.parametrize("at", [3, 18])
def test_kill_and_resume_is_bit_for_bit(make_samples: Make, tmp_path: Path, at: int) -> None:
    kill_and_resume(tmp_path, make_samples(), lambda seed: learner(seed=seed), HOW, at)


def test_another_run_is_not_gone_on_with(make_samples: Make, tmp_path: Path) -> None:
    train_student(make_samples(), learner(), tmp_path, replace(HOW, epochs=1))
    for how, network in ((replace(HOW, epochs=1, near=1.0), ""), (replace(HOW, epochs=1), "x")):
        with pytest.raises(InputError, match="holds another run"):
            train_student(make_samples(), learner(), tmp_path, how, network=network)
    (tmp_path / "last.safetensors").write_bytes(b"no such thing")
    with pytest.raises(FaceflowError, match="cannot be read"):
        train_student(make_samples(), learner(), tmp_path, replace(HOW, epochs=1))


def test_without_names_the_same_photos_judge(make_samples: Make, tmp_path: Path) -> None:
    samples = make_samples(people=80, photos=1)
    found = train_student(samples, learner(), tmp_path, HOW)
    assert np.isnan(found.history[0].clean)
    assert found.best
    assert found.history[found.best].covered > found.history[0].covered
    # Of people with one photo among others, that photo is enrolled and never asked.
    mixed = make_samples(people=30, photos=2)
    single = mixed.select(~((mixed.person > 4) & (mixed.photo % 2 == 1)))
    with pytest.raises(InputError, match="too few"):
        train_student(
            single.select(single.person > 4).select(np.arange(50) < 6),
            learner(),
            tmp_path / "b",
            HOW,
        )


def test_first_clean_is_the_earliest_photo_without_a_cover() -> None:
    samples = Samples(
        np.zeros((5, 1, 1, 1), np.float16),
        np.arange(5),
        np.array([0, 0, 0, 1, 1]),
        np.array([7, 3, 2, 4, 4]),
        np.array([False, False, True, True, True]),
        ("a", "b"),
    )
    assert first_clean(samples).tolist() == [1, 1, 1, -1, -1]


def test_looks_are_drawn_from_the_photo_and_the_seed() -> None:
    few, many = (drawn_looks(("mask", "mask", "hat"), n, 0.5, 0) for n in (2, 200))
    other = drawn_looks(("mask", "mask", "hat"), 2, 0.5, 1)
    content = "0123456789abcdef" * 4
    assert few(content)[0] == Look()
    assert few(content) == many(content)[:3] == few(content)
    assert few(content)[1:] != other(content)[1:]
    assert few(content)[1:] != few("1" + content[1:])[1:]
    covers = [look.cover for look in many(content)[1:]]
    assert 0.55 < covers.count("mask") / 200 < 0.78
    assert 60 < sum(look.mirrored for look in many(content)) < 140
    assert len({look.key for look in many(content)}) == 201


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"precision": "float16"}, "precision is 'float16'"),
        ({"copies": 0}, "copies is 0"),
        ({"near": -1.0}, "near is -1"),
        ({"covers": []}, "no cover is named"),
        ({"lr": 0.0}, "lr is 0"),
        ({"s": 30.0}, "a recipe has no field 's'"),
    ],
)
def test_recipes_out_of_range(values: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        recipe_from(StudentRecipe, values)


needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch (extra train) is not installed"
)


@needs_torch
def test_loss_in_pytorch_is_the_loss_in_numpy() -> None:
    import torch

    from faceflow.training import student_tail

    rng = np.random.default_rng(0)
    embedding, targets = rng.standard_normal((5, 7)), unit(rng.standard_normal((4, 7)))
    labels = np.array([0, 3, 1, 1, 2])
    values = torch.tensor(embedding, requires_grad=True)
    loss = student_tail.answer_loss(
        values, torch.tensor(targets, dtype=torch.float64), torch.tensor(labels), scale=20, near=2
    )
    loss.backward()
    expected = answer_loss(embedding, targets, labels, scale=20, near=2)
    assert loss.item() == pytest.approx(expected.loss, rel=1e-6)
    np.testing.assert_allclose(values.grad, expected.d_embedding, rtol=1e-4, atol=1e-6)


def tail(first: str, how: StudentRecipe, seed: int = 0):
    import torch
    from torch import nn

    from faceflow.training.student_tail import TailLearner

    class Cut(nn.Module):
        """Two layers on maps; the first stands for all that is before ``fc``."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(4, 4, 1)
            self.fc = nn.Linear(64, 16)

        def until(self, image, part):
            return self.conv1(image) if part == "fc" else image

        def since(self, value, part):
            maps = self.conv1(value) if part == "conv1" else value
            return self.fc(maps.flatten(1)), maps

    return TailLearner(Cut(), first, how, torch.device("cpu"))


@needs_torch
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pytorch_learns_and_goes_on_bit_for_bit(
    make_samples: Make, tmp_path: Path, precision: str
) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        how = replace(HOW, first="conv1", lr=0.01, epochs=2, precision=precision)
        samples = make_samples(people=30)
        kill_and_resume(tmp_path, samples, lambda seed: tail("conv1", how, seed), how, 5)
        found = train_student(samples, tail("conv1", how), tmp_path / "c", how)
        assert found.best
        half = train_student(
            samples, tail("conv1", how), tmp_path / "d", replace(how, share=0.5, epochs=1)
        )
        one = train_student(samples, tail("conv1", how), tmp_path / "e", replace(how, epochs=1))
        start = tail("conv1", how).tensors()
        for name, value in half.tensors.items():
            np.testing.assert_allclose(value, (start[name] + one.tensors[name]) / 2, atol=1e-6)
        assert found.history[found.best].margin > found.history[0].margin
    finally:
        torch.set_num_threads(before)


@needs_torch
def test_what_is_before_the_cut_stays(make_samples: Make, tmp_path: Path) -> None:
    how = replace(HOW, lr=0.01, epochs=1)
    start = tail("fc", how).tensors()
    found = train_student(make_samples(people=30), tail("fc", how), tmp_path, how)
    np.testing.assert_array_equal(found.tensors["conv1.weight"], start["conv1.weight"])
    assert not np.array_equal(found.tensors["fc.weight"], start["fc.weight"])
    # The last layer's learning rate is a share of the others': Adam's first step is its size.
    step = np.abs(found.tensors["fc.weight"] - start["fc.weight"]).max()
    assert 0 < step <= 1.05 * how.lr * how.last_layer_share * len(found.losses)


@needs_torch
def test_the_default_network_can_be_cut_before_each_part() -> None:
    import torch

    from faceflow.networks.torch import build
    from faceflow.networks.torch.lightcnn import PARTS
    from faceflow.training.student_tail import parts_of

    torch.manual_seed(0)
    model = build("lightcnn-v4").eval()
    assert parts_of(model) == PARTS
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        embedding, patches = model(image)
        for part in PARTS:
            again = model.since(model.until(image, part), part)
            torch.testing.assert_close(again[0], embedding)
            torch.testing.assert_close(again[1], patches)
