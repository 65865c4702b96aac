"""Remove a person and die after the commit, before the log is erased.

Arguments: gallery path, name.
"""

from __future__ import annotations

import os
import signal
import sys

from faceflow.gallery import Gallery
from faceflow.gallery.stores.sqlite.session import Session


def die(self: Session, *, wait: bool = True) -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def main() -> None:
    gallery = Gallery.open(sys.argv[1])
    Session.erase = die  # type: ignore[method-assign]
    gallery.remove_person(sys.argv[2])


if __name__ == "__main__":
    main()
