"""Start other programs without taking anything from the working folder.

The working folder may be full of a stranger's files. Whoever looks up a program or a module there
runs what it finds: ``python -m pip`` puts the working folder first on the module path, an empty or
relative entry of ``PATH`` or ``PYTHONPATH`` names it, and Windows searches it before ``PATH``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

_PATH_LISTS = ("PATH", "PYTHONPATH")


def absolute_entries(entries: Iterable[str]) -> list[str]:
    """The entries of a search path that mean the same wherever one stands, each once."""
    return list(dict.fromkeys(e for e in entries if e and Path(e).is_absolute()))


def module_path() -> list[str]:
    """This process's module path without the working folder and relative entries.

    A working folder that was named by its full path goes too: Python spells an empty entry of
    ``PYTHONPATH`` so, and puts the folder of ``python -m`` there.
    """
    return [entry for entry in absolute_entries(sys.path) if not _is_here(entry)]


def environment() -> dict[str, str]:
    """This process's environment with only absolute entries on ``PATH`` and ``PYTHONPATH``."""
    clean = dict(os.environ)
    for name in _PATH_LISTS:
        if name in clean:
            clean[name] = os.pathsep.join(absolute_entries(clean[name].split(os.pathsep)))
            if not clean[name]:  # an empty PATH is the working folder again
                del clean[name]
    return clean


def find_program(name: str) -> str | None:
    """Full path of a program on ``PATH``; never one in the working folder or a relative entry.

    ``shutil.which`` looks into the working folder first on Windows, whatever path it is given.
    """
    file_name = f"{name}.exe" if os.name == "nt" else name
    for folder in absolute_entries(os.environ.get("PATH", "").split(os.pathsep)):
        candidate = Path(folder, file_name)
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


def neutral_folder() -> str:
    """A working folder in which nobody leaves files for us: the file system's root.

    A fresh temporary folder would not do for programs that also look for their settings in the
    folders above it.
    """
    return Path(sys.executable).anchor or os.sep


def _is_here(entry: str) -> bool:
    try:
        return Path(entry).samefile(Path.cwd())
    except OSError:  # the entry, or the working folder, is gone
        return False
