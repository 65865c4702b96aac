"""Build the native tests with AddressSanitizer and UBSan, and run them.

Usage: python native/tests/run_sanitizers.py [--cases N] [--plain]

Needs CMake and GCC or Clang. With SIMDe's headers installed (Debian: libsimde-dev) the AVX-512
sources are run as well, emulated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[1]


def main() -> int:
    """Configure, build, run; returns the test's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=150, help="random problems to try")
    parser.add_argument("--plain", action="store_true", help="without the sanitizers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                "cmake",
                "-S",
                NATIVE,
                "-B",
                folder,
                "-DFACEFLOW_NATIVE_TESTS=ON",
                f"-DFACEFLOW_SANITIZE={'OFF' if options.plain else 'ON'}",
            ],
            check=True,
        )
        subprocess.run(["cmake", "--build", folder, "--parallel", "2"], check=True)
        environment = os.environ | {
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "ASAN_OPTIONS": "detect_leaks=1",
        }
        program = Path(folder) / "tests" / "kernel_test"
        return subprocess.run([program, str(options.cases)], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
