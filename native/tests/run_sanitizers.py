"""Build the kernel with AddressSanitizer and UBSan, and try to break it.

Usage: python3 dev.py sanitize [--short] [--cases N] [--plain]

First the native tests: every level this machine runs (and, with SIMDe's headers installed, Debian:
libsimde-dev, the AVX-512 sources emulated) against a plain second method and against hostile input.
Then the Python module built the same way, with the property tests of tests/matching/transport:
whatever Python hands over. Needs CMake and GCC or Clang. The build is kept in build/sanitize.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[1]
ROOT = NATIVE.parent
PROPERTIES = "hostile or bad or strides or refused or threads or tiny or no_candidates"


def build(folder: Path, *, short: bool, plain: bool) -> None:
    """Configure and compile; the short form compiles the native tests alone, not emulated."""
    nanobind = [sys.executable, "-m", "nanobind", "--cmake_dir"]
    where = "" if short else subprocess.check_output(nanobind, text=True).strip()
    definitions = {
        "FACEFLOW_NATIVE_TESTS": "ON",
        "FACEFLOW_MODULE": "OFF" if short else "ON",
        "FACEFLOW_EMULATE": "OFF" if short else "ON",
        "FACEFLOW_SANITIZE": "OFF" if plain else "ON",
        "Python_EXECUTABLE": sys.executable,
        "nanobind_DIR": where,
    }
    words = [f"-D{name}={value}" for name, value in definitions.items() if value]
    subprocess.run(["cmake", "-S", NATIVE, "-B", folder, *words], check=True)
    subprocess.run(["cmake", "--build", folder, "--parallel"], check=True)


def runtime() -> str:
    """Libraries to be loaded before Python: the sanitizer's, and that of the exceptions it watches.

    Empty where the compiler links them.
    """
    compiler = os.environ.get("CXX", "c++")
    found = []
    for name in ("libasan.so", "libstdc++.so.6"):
        asked = [compiler, f"-print-file-name={name}"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        found += [told] if Path(told).is_absolute() else []
    return os.pathsep.join(found)


def main() -> int:
    """Build and run all of it; returns the first failing exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="native tests alone, and few cases")
    parser.add_argument("--cases", type=int, help="random problems to try (default 100; short 20)")
    parser.add_argument("--plain", action="store_true", help="without the sanitizers")
    options = parser.parse_args()
    cases = options.cases or (20 if options.short else 100)
    folder = ROOT / "build" / ("sanitize-short" if options.short else "sanitize")
    folder = folder.with_name(folder.name + "-plain") if options.plain else folder
    build(folder, short=options.short, plain=options.plain)
    environment = os.environ | {
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "ASAN_OPTIONS": "detect_leaks=1",
    }
    for program, count in (("kernel_test", cases), ("hostile_test", 10 * cases)):
        done = subprocess.run([folder / "tests" / program, str(count)], env=environment)
        if done.returncode:
            return done.returncode
    if options.short:
        return 0
    # Python itself and NumPy keep memory until they end: leaks are the native tests' business.
    environment["ASAN_OPTIONS"] = "detect_leaks=0"
    environment["LD_PRELOAD"] = "" if options.plain else runtime()
    environment["KERNEL_UNDER_TEST"] = str(next(folder.glob("_kernel*.so")))
    environment["PYTHONPATH"] = str(NATIVE / "tests")
    words = ["-p", "kernel_under_test", "-p", "no:cacheprovider", "-q", "-k", PROPERTIES]
    tests = ROOT / "tests" / "matching" / "transport" / "test_native.py"
    command = [sys.executable, "-m", "pytest", *words, tests]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
