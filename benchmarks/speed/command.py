"""What a command takes from the first letter to the last: a process of its own each time.

    python benchmarks/speed/command.py                    # a drawn person of the demo
    python benchmarks/speed/command.py --photo PHOTO.jpg

`faceflow --help`, and `faceflow identify PHOTO` against a gallery of 13,000 faces (random features
in the sizes of the default network), in turns: CPU seconds of all threads and wall seconds. Then
one such process by part, in the order in which the parts come. The compiled modules of Python lie
in a folder of this run's own, filled by the first round, which is not counted. Needs `faceflow
models pull`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from measuring import load, machine

from faceflow.demo import PEOPLE

PARTS = """
import sys, time
photo, gallery = sys.argv[1:]
last = time.process_time()
print(f"start of Python: {last * 1e3:.0f}")
def part(name):
    global last
    now = time.process_time()
    print(f"{name}: {(now - last) * 1e3:.0f}")
    last = now
import faceflow.cli.app
part("command line (Typer and its commands)")
import numpy
part("NumPy")
import cv2, onnxruntime
part("OpenCV, ONNX Runtime")
from faceflow import identifier
part("faceflow")
one = identifier.Identifier(gallery, readonly=True)
part("open the gallery, find the models")
options = one.options()
part("last layer of the network, for what a patch adds")
options.model.rounded
part("the same in whole numbers")
found = one.analyzer.analyze(photo, select="largest")
part("open the models, detect, embed")
again = one.analyzer.analyze(photo, select="largest")
part("  the same photo again")
from faceflow.matching.identification import identify
identify(found[0].features, one.gallery, options)
part("read all embeddings, identify")
identify(found[0].features, one.gallery, options)
part("  identify again")
"""


def run(words: list[str], env: Mapping[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of one process."""
    start = time.perf_counter()
    child = subprocess.Popen(words, env=dict(env), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, wall


def main() -> None:
    parser = argparse.ArgumentParser(description="Time whole commands.")
    parser.add_argument("--photo", type=Path, default=sorted(PEOPLE.glob("*/*.jpg"))[0])
    parser.add_argument("--faces", type=int, default=13_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    from endtoend import enroll

    from faceflow.networks import load_network

    print(machine())
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        gallery = Path(folder) / "people.faceflow"
        enroll(gallery, load_network(), options.faces).close()
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        program = [sys.executable, "-m", "faceflow"]
        commands = {
            "--help": [*program, "--help"],
            "identify": [*program, "identify", str(options.photo), "--gallery", str(gallery)],
        }
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(options.rounds + 1):
            for name in rng.permutation(list(commands)):
                found = run(commands[name], env)
                if number:
                    spent[name].append(found)
        for name, times in spent.items():
            cpu, wall = np.percentile(np.array(times), [25, 50, 75], axis=0).T
            print(
                f"  faceflow {name:10} CPU s {cpu[1]:.2f} ({cpu[0]:.2f}-{cpu[2]:.2f})   "
                f"wall s {wall[1]:.2f} ({wall[0]:.2f}-{wall[2]:.2f})"
            )
        runs = [
            subprocess.run(
                [sys.executable, "-c", PARTS, str(options.photo), str(gallery)],
                env=env,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.splitlines()
            for _ in range(3)
        ]
        print("identify by part, CPU ms (median of 3 processes):")
        for lines in zip(*runs, strict=True):
            name = lines[0].rsplit(":", 1)[0]
            values = [float(line.rsplit(":", 1)[1]) for line in lines]
            print(f"  {name:52}{np.median(values):6.0f}")
    print(load())


if __name__ == "__main__":
    main()
