"""Open a gallery and say what happens, one line each: writing, read-only, creating another.

Runs as a user whom file permissions concern, even when started by root.

Arguments: gallery path, folder to create another one in.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from faceflow.errors import GalleryError
from faceflow.gallery import Gallery


def main() -> None:
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        Gallery.open(path).close()
        sys.stdout.write("opened for writing\n")
    except GalleryError as error:
        sys.stdout.write(f"{error}\n")
    try:
        with Gallery.open(path, readonly=True) as gallery:
            ids = [record.face_id for record in gallery.faces()]
            found = gallery.search(gallery.features(ids), k=1).face_ids[:, 0]
            sys.stdout.write(f"read {len(gallery)} {(found == ids).all()}\n")
    except GalleryError as error:
        sys.stdout.write(f"{error}\n")
    try:
        Gallery.create(
            folder / "new.faceflow",
            network_name="n",
            digest="d",
            embedding_size=4,
            grid=(1, 1),
            channels=4,
        ).close()
        sys.stdout.write("created\n")
    except GalleryError as error:
        sys.stdout.write(f"{error}\n")


if __name__ == "__main__":
    main()
