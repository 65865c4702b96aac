"""The log of a training run: one CSV line per epoch, and TensorBoard's files if wished."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceflow.errors import InputError, MissingExtraError

Values = Mapping[str, float | int]


class CsvLog:
    """Appends a line per epoch; the first line names the columns.

    Args:
        path: the file; what it held before is lost.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the log {path} cannot be written", why=error.strerror or str(error)
            ) from error

    def __call__(self, values: Values) -> None:
        """Write one line."""
        new = self._path.stat().st_size == 0
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(values)
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values.values())


class TensorBoardLog:
    """The same values as curves for TensorBoard.

    Raises:
        MissingExtraError: the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            module: Any = importlib.import_module("torch.utils.tensorboard")
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "TensorBoard's logs need the package tensorboard",
                todo="install it with pip install tensorboard",
            ) from error
        self._writer = module.SummaryWriter(str(folder))

    def __call__(self, values: Values) -> None:
        """Add one point to each curve."""
        for name, value in values.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, values["epoch"])
        self._writer.flush()
