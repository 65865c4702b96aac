"""Die when a table is written and before it has its name. Arguments: gallery, target."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from faceflow.gallery import Gallery
from faceflow.gallery.stores.sqlite import file as sqlite_file


def die(*_: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def main() -> None:
    gallery, target = map(Path, sys.argv[1:])
    if target.suffix == ".parquet":
        sqlite_file.publish = die
    else:
        from faceflow.gallery.transfer import lance

        lance.publish_folder = die  # type: ignore[assignment]
    with Gallery.open(gallery, readonly=True) as opened:
        opened.export(target)


if __name__ == "__main__":
    main()
