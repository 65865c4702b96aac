"""Fuzz target: the reader of PyTorch checkpoints, in this process, without its limits."""

from __future__ import annotations

from faceflow.errors import WeightsError
from faceflow.weights import read_checkpoint


def one(data: bytes) -> None:
    """Arrays no larger than the file allows, or a WeightsError with a text fit for a terminal."""
    try:
        found = read_checkpoint(data)
    except WeightsError as error:
        assert str(error).isprintable(), "an error's text holds control codes"
        assert len(str(error)) < 2000, "an error's text has no end"
        return
    for name, array in found.items():
        assert name.isprintable()
        assert array.nbytes <= 2 * len(data), "an array is larger than its file"
        array.sum()  # touches every element: none may lie outside its buffer
