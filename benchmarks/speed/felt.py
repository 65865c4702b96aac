"""What users feel, in one go: a command, one photo, a masked one, a folder, a million faces.

    python3 dev.py bench felt                       # some eight minutes on two quiet cores
    python benchmarks/speed/felt.py --only photo folder

Runs the benchmarks that docs/performance.md quotes in its first half, one after the other and
each with the arguments that stand there, and says how long each took. The machine should have
nothing else to do. A million faces need 12 GB on the disk of --folder and 3 GB of memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from measuring import load, machine

HERE = Path(__file__).parent
RUNS: dict[str, list[list[str]]] = {
    "command": [["command.py", "--rounds", "9"]],
    "photo": [["endtoend.py", "--photos", "20", "--timed", "40", "--rounds", "2"]],
    "folder": [["bulk.py", "--count", "96", "--rounds", "3"]],
    "million": [
        ["disk.py", "--faces", "13000", "1000000"],
        ["stage1.py", "--faces", "10000", "30000", "1000000", "--rounds", "5"],
    ],
    "ratios": [["ratios.py", "--rounds", "25"]],
    "peers": [["transport.py", "--patches", "64", "--rounds", "9"]],
}
"""By name; "peers" needs PyTorch, see requirements.txt beside this file."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Run what docs/performance.md quotes first.")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--photos", type=Path, help="a folder for bulk.py, one photo a person")
    parser.add_argument("--folder", type=Path, help="where a million faces are written for a while")
    options = parser.parse_args()
    print(machine(), flush=True)
    failed = []
    for name in options.only:
        for words in RUNS[name]:
            more: list[str] = []
            if words[0] == "bulk.py" and options.photos:
                more = ["--photos", str(options.photos)]
            if words[0] == "disk.py" and options.folder:
                more = ["--folder", str(options.folder)]
            print(f"\n##### {' '.join([*words, *more])}", flush=True)
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, str(HERE / words[0]), *words[1:], *more], check=False
            )
            if done.returncode:
                failed.append(words[0])
            print(f"##### {time.perf_counter() - start:.0f} s; {load()}", flush=True)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
