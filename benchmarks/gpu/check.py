"""Is the GPU right, and how fast? One command, under 8 minutes.

    python benchmarks/gpu/check.py                # the first CUDA device
    python benchmarks/gpu/check.py --device mps
    python benchmarks/gpu/check.py --small        # the same on the CPU in seconds: does it run?

Prints the device; agreement with the NumPy oracle; every face of an LFW-sized set against every
other, and the published computation in PyTorch in turns; stage 1 of 13 thousand and a million
faces; images a second of the default network. Needs PyTorch (and Triton for the fused kernel).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial

from agreement import agreement
from embedding import embedding
from headline import headline
from searching import searching
from sizes import SMALL, Here, Sizes

import faceflow
from faceflow.errors import FaceflowError
from faceflow.matching.transport.device import fused
from faceflow.weights import pytorch

_SECONDS = 450.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Is the GPU right, and how fast?")
    parser.add_argument(
        "--device", help="cuda, cuda:1, mps or cpu (default: cuda; cpu with --small)"
    )
    parser.add_argument("--small", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    device = options.device or ("cpu" if options.small else "cuda")
    sizes = SMALL if options.small else Sizes()
    started = time.perf_counter()
    try:
        torch = pytorch.require(device)
    except FaceflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.small:
        torch.set_num_threads(1)  # several cost more than they save
    why = fused.why_not(device, sizes.side**2, sizes.side**2, 1e-3)
    here = Here(torch, device, why)
    print(_device(here))
    failed = 0
    parts: dict[str, Callable[[], None]] = {
        "agreement": partial(agreement, here, sizes),
        "headline": partial(headline, here, sizes),
        "stage 1": partial(searching, here, sizes),
        "networks": partial(embedding, here, sizes, small=options.small),
    }
    for name, part in parts.items():
        spent = time.perf_counter() - started
        print(f"\n== {name} ({spent:.0f} s so far)", flush=True)
        if spent > _SECONDS:
            print("left out: no time")
            continue
        try:
            part()
        except Exception:  # the other parts tell something all the same
            failed += 1
            print(f"FAILED\n{traceback.format_exc()}", flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s in all; {failed} parts failed")
    return 1 if failed else 0


def _device(here: Here) -> str:
    torch, device = here.torch, here.device
    if device.startswith("cuda"):
        about = torch.cuda.get_device_properties(device)
        name = f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    else:
        name = platform.processor() or platform.machine()
    kernel = here.fused or "there"
    return (
        f"faceflow {faceflow.__version__}, PyTorch {torch.__version__}, {device}: {name}\n"
        f"fused kernel: {kernel}; {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
