"""How fast a whole network trains here, and what a full run would cost elsewhere (an estimate).

    python benchmarks/speed/training.py --batch 32 --seconds 60

Measures optimiser steps of the default network on random crops, forward and backward, on one
thread and by that thread's own time, so that other work on the machine counts little. The drawing
of covers is measured apart. The estimate divides the floating-point operations of a run (three
times those of the forward pass, the usual count) by a GPU's stated peak times an assumed share of
it that training reaches; it was not measured.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from drawn_people import identity, portrait
from faceflow.networks.torch import build
from faceflow.occlusion import occlude
from faceflow.training.torch_loss import ArcFaceMargin

IMAGES, EPOCHS, PEOPLE = 907_459, 12, 10_575
# (name, peak of dense half precision in FLOP/s by its maker, assumed share of it)
GPUS = (("A100 (312 TFLOP/s)", 312e12, 0.3), ("T4 (65 TFLOP/s)", 65e12, 0.3))


def forward_flops(model: nn.Module) -> int:
    """Multiply-adds of convolutions and linear layers for one image, times two."""
    total = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            side = output.shape[-1] * output.shape[-2]
            total += 2 * side * module.weight.numel()
        elif isinstance(module, nn.Linear):
            total += 2 * module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    with torch.no_grad():
        model(torch.zeros(1, 3, 128, 128))
    for hook in hooks:
        hook.remove()
    return total


def images_per_second(model: nn.Module, batch: int, seconds: float, bfloat16: bool) -> float:
    margin = ArcFaceMargin(torch.randn(PEOPLE, 256), 30, 0.5)
    optimiser = torch.optim.SGD([*model.parameters(), *margin.parameters()], lr=1e-3)
    images, labels = torch.rand(batch, 3, 128, 128), torch.randint(PEOPLE, (batch,))

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = margin(model(images)[0], labels)
        loss.backward()
        optimiser.step()

    step()
    begin, done = time.process_time(), 0
    while time.process_time() - begin < seconds:
        step()
        done += batch
    return done / (time.process_time() - begin)


def cover_seconds(count: int = 40) -> float:
    """Mean time of one mask or pair of sunglasses on a 128x128 crop, in turn."""
    photo = portrait(identity(0), 0, size=128)
    begin = time.process_time()
    for seed in range(count):
        occlude(("mask", "sunglasses")[seed % 2], photo.image, photo.landmarks, seed)
    return (time.process_time() - begin) / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--bfloat16", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = build("lightcnn-v4")
    flops = forward_flops(model)
    rate = images_per_second(model, arguments.batch, arguments.seconds, arguments.bfloat16)
    print(f"forward pass: {flops / 1e9:.2f} GFLOP an image; training: {3 * flops / 1e9:.1f}")
    print(f"one core, batch {arguments.batch}: {rate:.2f} images per second of CPU time")
    covering = cover_seconds()
    print(f"drawing a cover: {1000 * covering:.1f} ms on one core")
    shown = IMAGES * EPOCHS
    print(f"a run of {IMAGES:,} images x {EPOCHS} epochs: {3 * flops * shown / 1e15:.0f} PFLOP")
    print(f"  on one such core: {shown / rate / 86400:.0f} days")
    for name, peak, share in GPUS:
        speed = peak * share / (3 * flops)
        print(
            f"  {name} at {share:.0%}, an estimate: {shown / speed / 3600:.1f} h "
            f"({speed:.0f} images/s; covering half of them needs {speed / 2 * covering:.0f} cores)"
        )


if __name__ == "__main__":
    main()
