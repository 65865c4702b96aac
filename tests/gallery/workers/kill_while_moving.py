"""Die in the middle of making, importing or exporting a gallery.

Arguments: what ("create", "import", "export", "overwrite"), gallery, an export of it, folder.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from faceflow.gallery import Gallery
from faceflow.gallery.stores.sqlite import file as sqlite_file
from faceflow.gallery.transfer import folder as transfer


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main() -> None:
    work, gallery, exported, folder = sys.argv[1], *map(Path, sys.argv[2:])
    sqlite_file.publish = die  # before a finished file gets its name
    if work == "overwrite":
        Path.rename = rename_once(Path.rename)  # type: ignore[method-assign]
    else:
        transfer.publish_folder = die
    if work == "create":
        Gallery.create(
            folder / "new.faceflow",
            network_name="n",
            digest="d",
            embedding_size=4,
            grid=(1, 1),
            channels=4,
        )
    elif work == "import":
        Gallery.import_from(exported, folder / "new.faceflow")
    else:
        with Gallery.open(gallery, readonly=True) as opened:
            opened.export(folder / "export", overwrite=work == "overwrite")


def rename_once(rename):  # type: ignore[no-untyped-def]
    """The first renaming puts the former export aside; the second is never reached."""
    done = []

    def renamed(self: Path, target: Path) -> Path:
        if done:
            die()
        done.append(target)
        return rename(self, target)

    return renamed


if __name__ == "__main__":
    main()
