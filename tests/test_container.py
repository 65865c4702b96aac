"""The container's steps are scripts; here they run without a container engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faceflow.system.caches import cache_dir

ROOT = Path(__file__).resolve().parents[1]
CONTAINER = ROOT / "container"
PREFIX = Path(sys.prefix)

needs_command = pytest.mark.skipif(
    not (PREFIX / "bin" / "faceflow").exists(), reason="no installed faceflow command here"
)
needs_sh = pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell here")


def run(script: str, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(CONTAINER / script), *map(str, words)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_every_step_of_the_dockerfile_is_a_script_or_a_package_installation() -> None:
    text = (CONTAINER / "Dockerfile").read_text().replace("\\\n", " ")
    steps = re.findall(r"^RUN (.*)$", text, re.MULTILINE)
    assert steps
    for step in steps:
        script = re.search(r"(\w+)\.sh", step)
        assert step.startswith("apt-get update") or script, step
        if script:
            assert (CONTAINER / f"{script[1]}.sh").is_file(), step


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (CONTAINER / "Dockerfile").read_text(), re.M)
    kept = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert name.split("/")[0] in kept, name


def test_it_runs_as_nobody_in_particular() -> None:
    text = (CONTAINER / "Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert text.index("USER 10001") < text.index('smoke.sh"]')


@needs_sh
@needs_command
def test_models_and_smoke(tmp_path: Path, default_network: object, detector: object) -> None:
    models = tmp_path / "models"
    shutil.copytree(cache_dir(), models)
    pulled = run("models.sh", PREFIX, models)
    assert pulled.returncode == 0, pulled.stderr
    smoke = run(
        "smoke.sh",
        PATH=f"{PREFIX / 'bin'}{os.pathsep}{os.environ['PATH']}",
        FACEFLOW_CACHE=str(models),
        FACEFLOW_OFFLINE="1",
        TMPDIR=str(tmp_path),
    )
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
