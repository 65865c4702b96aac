"""The command line: parse, call the library, render the answer."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the ``faceflow`` command (the entry point of the installed script)."""
    try:
        # Imported here so that Ctrl-C while Python loads modules ends as quietly as later on.
        from faceflow.cli.app import app

        app(prog_name="faceflow")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
