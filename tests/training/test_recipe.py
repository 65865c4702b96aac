from __future__ import annotations

from pathlib import Path

import pytest

from faceflow.errors import InputError
from faceflow.training.recipe import HeadRecipe, NetworkRecipe, read_recipe, recipe_from


def test_default_network_recipe_is_the_papers() -> None:
    recipe = NetworkRecipe()
    assert (recipe.s, recipe.m, recipe.epochs, recipe.lr, recipe.weight_decay) == (
        30,
        0.5,
        12,
        0.001,
        5e-4,
    )


def test_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('epochs = 3\nlr = 1\ncovers = ["hat"]\n')
    assert read_recipe(NetworkRecipe, path, seed=5, batch_size=None) == NetworkRecipe(
        epochs=3, lr=1.0, covers=("hat",), seed=5
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("epoch = 3", "no field 'epoch'"),
        ("epochs = 2.5", "epochs is 2.5"),
        ("epochs = 0", "epochs is 0"),
        ("pull = 2.0", "pull is 2.0"),
        ("seed = -1", "seed is -1"),
        ("step = true", "step is True"),
        ("step = nan", "step is nan"),
        ("epochs =", "cannot be read as TOML"),
    ],
)
def test_bad_toml(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=word):
        read_recipe(HeadRecipe, path)


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 10, "accumulate": 3},
        {"precision": "int4"},
        {"covers": []},
        {"covers": [1]},
        {"m": 4.0},
    ],
)
def test_bad_network_recipes(values: dict) -> None:
    with pytest.raises(InputError):
        recipe_from(NetworkRecipe, values)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(HeadRecipe, tmp_path / "none.toml")
