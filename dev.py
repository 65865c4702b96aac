#!/usr/bin/env python3
"""One command: dev.py demo | check | test | pages | docs | bench | sanitize | fuzz | soak | audit.

Needs only Python 3.11 or newer. Makes a virtual environment in .venv, installs faceflow and
its development tools there, fetches the default weights, and runs the task. The second run
reuses all of it and builds again only what has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = Path(os.environ.get("FACEFLOW_VENV", ROOT / ".venv"))
BIN = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
BENCHMARKS = ROOT / "benchmarks" / "speed"

# What `check --fast` leaves out: each is slow or far from most changes; `check` runs all of it.
SLOW = (
    "tests/evaluation",
    "tests/training",
    "tests/evaluation/data",
    "tests/calibration",
    "tests/occlusion",
    "tests/test_demo.py",
    "docs",
)

spent: list[tuple[str, float]] = []


def run(*command: str | Path, label: str = "", **variables: str) -> None:
    """Run one command in the project's folder; stop with its exit code when it fails."""
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    start = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, env=os.environ | variables, check=False)
    spent.append((label or words[2 if words[1:2] == ["-m"] else 0], time.monotonic() - start))
    if done.returncode:
        raise SystemExit(done.returncode)


def digest(paths: Iterable[Path], *more: object) -> str:
    """Changes with the names and bytes of these files, and with whatever else is given."""
    found = hashlib.sha256(repr((sys.version, more)).encode())
    for path in sorted(paths):
        found.update(f"{path.relative_to(ROOT).as_posix()}\n".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def kernel_sources() -> list[Path]:
    """Everything the compiled kernel is made of."""
    return [ROOT / "native" / "CMakeLists.txt", *(ROOT / "native" / "src").iterdir()]


def has_compiler() -> bool:
    """Whether a C++ compiler is at hand; CMake finds Visual Studio's outside of the path."""
    named = os.environ.get("CXX", "").split()[:1]
    return any(shutil.which(name) for name in (*named, "c++", "g++", "clang++"))


def install(*, groups: tuple[str, ...] = ()) -> None:
    """Create the environment; install the tools and faceflow where theirs have changed.

    Two stamps: the packages depend on pyproject.toml, the build on the kernel's sources and the
    version as well. CMake's build folder is kept, so only changed files are compiled again.
    """
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    packages = [line for group in groups for line in project["dependency-groups"][group]]
    builders = list(project["build-system"]["requires"])
    builders += [name for name in ("cmake", "ninja") if shutil.which(name) is None]
    version = (ROOT / project["tool"]["scikit-build"]["metadata"]["version"]["input"]).read_text()
    tools = digest([ROOT / "pyproject.toml"], groups)
    build = digest(
        [ROOT / "pyproject.toml", *kernel_sources()],
        next(line for line in version.splitlines() if line.startswith("__version__")),
        has_compiler(),
    )
    stamp = ENVIRONMENT / "faceflow-install"
    done = stamp.read_text().split() if stamp.exists() else []
    if tools in done and build == done[-1]:
        return
    if not PYTHON.exists():
        print(f"creating {ENVIRONMENT}", flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
    pip = (PYTHON, "-P", "-m", "pip", "install", "--quiet")
    if tools not in done:
        run(*pip, *builders, *packages, label="install tools")
    # Without isolation the builders stay where they are, and CMake's build folder remains valid.
    require = {"FACEFLOW_REQUIRE_KERNEL": "1"} if has_compiler() else {}
    extra = ("--no-deps",) if tools in done else ()
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    words = (*pip, *extra, "--no-build-isolation", "--editable", ".")
    run(*words, label="install faceflow", PATH=path, **require)
    found = "from faceflow.matching.transport import native; print(native.why_missing() or '')"
    missing = subprocess.run([PYTHON, "-c", found], capture_output=True, text=True, check=True)
    if missing.stdout.strip():
        print(f"NOTE: no compiled kernel: {missing.stdout.strip()}. Everything works on NumPy,")
        print("slower; `faceflow doctor` says how much, and what to install.", flush=True)
    keep = [line for line in done[:-1] if line != tools]
    stamp.write_text("\n".join([*keep, tools, build]) + "\n")


# What the tests work with: the default models, and the detector of galleries from before 0.2.
MODELS = ("lightcnn-v4", "centerface", "mtcnn")


def browser() -> None:
    """Chromium for the tests of the pages, where this may install it; they skip without."""
    if any(shutil.which(name) for name in ("chromium", "chromium-browser")):
        return
    apt = shutil.which("apt-get")
    if apt is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print("NOTE: there is no Chromium, so the tests of the pages are skipped.", flush=True)
        return
    for words in (("update", "-qq"), ("install", "-qq", "-y", "chromium")):
        done = subprocess.run([apt, *words], stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            print("NOTE: Chromium cannot be installed here; the tests of the pages are skipped.")
            return


def demo(rest: list[str]) -> None:
    """Install, fetch the weights, enroll people and identify covered photos of them."""
    install()
    run(BIN / "faceflow", "demo", *rest)


def test(rest: list[str]) -> None:
    """Install, fetch the weights, and run all tests with their coverage, or pytest's arguments."""
    install(groups=("dev", "docs"))
    run(BIN / "faceflow", "models", "pull", *MODELS)
    browser()
    run(PYTHON, "-m", "pytest", *(rest or ["--cov", "--cov-report=term:skip-covered"]))


def check(rest: list[str]) -> None:
    """The gate: formatting, lint, types, tests, documentation; --fast without the slow parts."""
    parser = argparse.ArgumentParser(prog="dev.py check", description=check.__doc__)
    parser.add_argument(
        "--fast",
        action="store_true",
        help=f"leave out the documentation, the sanitizers and {', '.join(SLOW)}",
    )
    parser.add_argument(
        "--jobs", type=int, default=min(4, os.cpu_count() or 1), help="test processes"
    )
    options = parser.parse_args(rest)
    install(groups=("dev", "docs"))
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "ruff", "check", ".")
    folders = (ROOT / "native" / "src", ROOT / "native" / "tests")
    sources = sorted(path for folder in folders for path in folder.glob("*.[ch]pp"))
    clang_format = "import clang_format; clang_format.clang_format()"
    names = [path.relative_to(ROOT) for path in sources]
    words = ["-c", clang_format, "--dry-run", "--Werror", *map(str, names)]
    run(PYTHON, *words, label="clang-format")
    run(PYTHON, "-m", "mypy")
    pages([])
    run(BIN / "faceflow", "models", "pull", *MODELS)
    browser()
    # A file's tests stay in one process, so that what they share is made once.
    tests = ["--numprocesses", str(options.jobs), "--dist", "loadfile", "--quiet"]
    tests += [f"--ignore={path}" for path in SLOW if options.fast]
    run(PYTHON, "-m", "pytest", *tests)
    if not options.fast:
        docs([])
        if sys.platform == "linux" and has_compiler():
            sanitize(["--short"])
    for name, seconds in spent:
        print(f"{seconds:7.1f} s  {name}")
    if options.fast:
        print(f"left out: the documentation, the sanitizers, and the tests of {', '.join(SLOW)}")


# Only here: users get the modules as they are, without a build.
PAGE_TOOLS = ("typescript@5.9.3", "openapi-typescript@7.10.1")


def pages(rest: list[str]) -> None:
    """The types of the pages' JavaScript, against the service's description; needs npm."""
    folder = ROOT / "build" / "page-types"
    tools = folder / "node_modules" / ".bin"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PAGE_TOOLS):
        npm = shutil.which("npm")
        folder.mkdir(parents=True, exist_ok=True)
        words = ["install", "--prefix", folder, "--silent", "--no-audit", "--no-fund", *PAGE_TOOLS]
        if npm is None or subprocess.run([npm, *words], cwd=folder, check=False).returncode:
            print("NOTE: npm is not there or fetches nothing; the pages' types are not checked.")
            return
        stamp.write_text(" ".join(PAGE_TOOLS))
    end = ".cmd" if os.name == "nt" else ""
    described = ROOT / "tests" / "server" / "openapi.json"
    described_as = ("-o", folder / "openapi.d.ts")
    run(tools / f"openapi-typescript{end}", described, *described_as, label="describe the service")
    project = ROOT / "tools" / "page_types" / "tsconfig.json"
    run(tools / f"tsc{end}", "--project", project, *rest, label="types of the pages")


def docs(rest: list[str]) -> None:
    """Build the documentation into site/, without network."""
    install(groups=("dev", "docs"))
    # A notice about the theme, no fault here.
    run(PYTHON, "-m", "mkdocs", "build", "--strict", "--quiet", *rest, NO_MKDOCS_2_WARNING="1")


def soak(rest: list[str]) -> None:
    """Kill, fill, swap and damage galleries for --minutes N; not part of the gate."""
    install()
    run(PYTHON, "tools/soak.py", *rest)


def bench(rest: list[str]) -> None:
    """The ratios of benchmarks/speed, with --compare against those kept; or NAME, or --list."""
    names = {
        path.stem: path.read_text(encoding="utf-8").split('"""')[1].splitlines()[0]
        for path in sorted(BENCHMARKS.glob("*.py"))
        if '"""' in (text := path.read_text(encoding="utf-8")) and "def main" in text
    }
    if not rest or rest[0] in ("--compare", "--rounds", "--margin"):
        rest = ["ratios", *rest]
    if rest[0] not in names:
        print("usage: python3 dev.py bench [--compare | NAME [--help | arguments]]\n")
        for name, title in names.items():
            print(f"  {name:12}{title}")
        raise SystemExit(0 if rest[0] in ("-h", "--help", "--list") else 2)
    install(groups=("dev", "docs"))
    run(PYTHON, BENCHMARKS / f"{rest[0]}.py", *rest[1:])


def sanitize(rest: list[str]) -> None:
    """The kernel under AddressSanitizer and UBSan: native and property tests; --short for less."""
    install(groups=("dev", "docs"))
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    program = ROOT / "native" / "tests" / "run_sanitizers.py"
    run(PYTHON, program, *rest, label="sanitizers", PATH=path)


def fuzz(rest: list[str]) -> None:
    """Fuzz what reads files of strangers: TARGET --minutes N; without a target each in turn."""
    install(groups=("dev", "docs"))
    program = ROOT / "tests" / "fuzz" / "run.py"
    targets = sorted(path.name for path in (program.parent / "corpus").iterdir())
    chosen, options = (rest[:1], rest[1:]) if rest and rest[0] in targets else (targets, rest)
    for target in chosen:
        run(PYTHON, program, target, *options, label=f"fuzz {target}")


def audit(rest: list[str]) -> None:
    """Known vulnerabilities of what is installed, and a bill of materials in build/."""
    install()
    run(PYTHON, "-P", "-m", "pip", "install", "--quiet", "pip-audit", "cyclonedx-bom")
    (ROOT / "build").mkdir(exist_ok=True)
    bom = ROOT / "build" / "sbom.cdx.json"
    run(BIN / "cyclonedx-py", "environment", PYTHON, "--output-file", bom)
    run(BIN / "pip-audit", "--skip-editable", *rest)


TASKS = {
    task.__name__: task
    for task in (demo, check, test, pages, docs, bench, sanitize, fuzz, soak, audit)
}


def main() -> None:
    """Parse the task's name and run it."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a clear word to users of older ones
        raise SystemExit("faceflow needs Python 3.11 or newer; this is " + sys.version.split()[0])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(dest="task", metavar="TASK", required=True)
    for name, task in TASKS.items():
        tasks.add_parser(name, help=(task.__doc__ or "").splitlines()[0], add_help=False)
    words = sys.argv[1:]
    if not words or (words[0] not in TASKS and not words[0].startswith("-")):
        parser.print_help(sys.stderr)
        raise SystemExit(f"\nthere is no task {words[0]!r}" if words else 2)
    chosen = parser.parse_args(words[:1])
    TASKS[chosen.task](words[1:])


if __name__ == "__main__":
    main()
