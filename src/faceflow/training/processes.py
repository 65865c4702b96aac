"""One training run on several processes, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from faceflow.errors import InputError


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among the others.

    Attributes:
        rank: its number; 0 judges, logs and saves.
        count: how many there are.
        device: what it computes on.
    """

    rank: int
    count: int
    device: torch.device

    def agree(self, value: bool) -> bool:
        """What process 0 says, in every process; all must call it."""
        if self.count == 1:
            return value
        told = torch.tensor([int(value)], device=self.device)
        distributed.broadcast(told, src=0)
        return bool(told.item())

    def mean(self, value: float) -> float:
        """The mean over the processes; all must call it."""
        if self.count == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return float(total.item()) / self.count


@contextmanager
def joined(device: str = "auto") -> Iterator[Processes]:
    """Join the other processes of a ``torchrun``, or be alone.

    Args:
        device: "cpu", "cuda", or "auto": CUDA where there is one.

    Raises:
        InputError: there is no such device here.
    """
    kind = device
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device is {device!r}", todo="choose cpu, cuda or auto")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("PyTorch sees no CUDA device here", todo="use --device cpu")
    count = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    if kind == "cuda":
        torch.cuda.set_device(chosen)
    if count == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield Processes(rank, count, chosen)
        distributed.barrier()  # nobody hangs up while another still talks
    finally:
        distributed.destroy_process_group()
