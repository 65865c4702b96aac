"""Look for inputs that break a reader: ``python tests/fuzz/run.py TARGET --minutes N``.

Guided by coverage with atheris where it is installed, by plain mutation of the corpus otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType

HERE = Path(__file__).resolve().parent
LONGEST_SECONDS = 20  # for one input; what takes longer is a finding
_NOT_TARGETS = {"run", "test_corpus"}

Target = Callable[[bytes], None]


def targets() -> list[str]:
    """The names of all targets."""
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in _NOT_TARGETS)


def load(name: str) -> ModuleType:
    """The target's module, found by its place: tests are no package."""
    spec = importlib.util.spec_from_file_location(f"fuzz_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def corpus(name: str) -> list[Path]:
    """The kept inputs of a target."""
    return sorted(path for path in (HERE / "corpus" / name).iterdir() if path.is_file())


def mutate(data: bytes, others: list[bytes], random: random.Random) -> bytes:
    """One to eight small changes: bytes, runs cut, doubled or filled, pieces of other inputs."""
    content = bytearray(data)
    for _ in range(random.randint(1, 8)):
        size = len(content)
        at = random.randrange(size + 1)
        length = min(random.choice((1, 2, 4, 8, 30, 200)), size - at)
        match random.randrange(6):
            case 0 if at < size:
                content[at] = random.randrange(256)
            case 1 if at < size:
                content[at] ^= 1 << random.randrange(8)
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = content[at : at + length] * random.choice((1, 1, 2, 50))
            case 4:
                content[at : at + length] = random.choice((b"\0", b"\xff", b"\x7f")) * length
            case _:
                other = random.choice(others)
                begin = random.randrange(len(other) + 1)
                content[at : at + length] = other[begin : begin + random.choice((1, 4, 20, 200))]
    return bytes(content)


def _too_long(_: int, __: FrameType | None) -> None:
    raise TimeoutError(f"one input took more than {LONGEST_SECONDS} seconds")


def by_mutation(name: str, minutes: float, findings: Path, *, seed: int, runs: int | None) -> int:
    """Run mutated inputs until the time or the number is reached; how many broke the target."""
    one: Target = load(name).one
    seeds = [path.read_bytes() for path in corpus(name)]
    source = random.Random(seed)
    end, done, broken = time.monotonic() + 60 * minutes, 0, 0
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _too_long)
    while time.monotonic() < end and (runs is None or done < runs):
        data = mutate(source.choice(seeds), seeds, source)
        done += 1
        if hasattr(signal, "SIGALRM"):
            signal.alarm(LONGEST_SECONDS)
        try:
            one(data)
        except Exception as error:
            broken += 1
            place = findings / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
            place.write_bytes(data)
            print(f"{type(error).__name__}: {error!s:.200} ({place})", flush=True)
        finally:
            if hasattr(signal, "SIGALRM"):
                signal.alarm(0)
    print(f"{name}: {done} inputs, {broken} broke it")
    return broken


def guided(name: str, minutes: float, findings: Path, *, seed: int, runs: int | None) -> None:
    """The same by atheris, which ends the process at the first finding."""
    import atheris

    with atheris.instrument_imports(include=["faceflow"]):
        one: Target = load(name).one
    options = [
        f"-max_total_time={round(60 * minutes)}",
        f"-timeout={LONGEST_SECONDS}",
        f"-artifact_prefix={findings}/{name}-",
        f"-seed={seed + 1}",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        *([f"-runs={runs}"] if runs is not None else []),
    ]
    with tempfile.TemporaryDirectory() as new:  # libFuzzer adds to the first folder
        atheris.Setup([sys.argv[0], *options, new, str(HERE / "corpus" / name)], one)
        atheris.Fuzz()


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=targets())
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, help="stop after this many inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, help="where inputs that break the target go")
    parser.add_argument("--plain", action="store_true", help="without atheris even if it is there")
    given = parser.parse_args()
    findings = given.findings or Path(tempfile.mkdtemp(prefix="faceflow-findings-"))
    findings.mkdir(parents=True, exist_ok=True)
    options = {"seed": given.seed, "runs": given.runs}
    if not given.plain and importlib.util.find_spec("atheris") is not None:
        guided(given.target, given.minutes, findings, **options)
    elif by_mutation(given.target, given.minutes, findings, **options):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
