"""The command line: parse, call the library, render the answer."""

# Only modules that Python has loaded by now: others could come from the working folder.
import os
import sys


def main() -> None:
    """Run the ``faceflow`` command (the entry point of the installed script)."""
    try:
        leave_working_folder()
        from faceflow.cli import interrupts

        interrupts.take_charge()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    # What commands write is about people: not for other users of the machine. Published weights
    # are about nobody; one user may fetch them for all.
    if sys.argv[1:2] != ["models"]:
        os.umask(os.umask(0o077) | 0o077)
    # From here on Ctrl-C is seen to, also while these modules are loaded.
    from faceflow.cli import streams

    streams.prepare()
    from faceflow.cli.app import app

    sys.exit(streams.finish(lambda: app(prog_name="faceflow")))


def leave_working_folder() -> None:
    """Take the working folder off the module path: it may be full of a stranger's files.

    ``python -m faceflow`` puts it there, and so does an empty entry of ``PYTHONPATH``. It stays
    when it is a part of Python itself or the folder that faceflow was loaded from.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib is not loaded yet
    except FileNotFoundError:  # it was removed, and holds nothing
        return
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    homes = tuple(os.path.join(home, "") for home in (sys.prefix, sys.base_prefix))  # noqa: PTH118
    if here == own or here.startswith(homes):
        return
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
