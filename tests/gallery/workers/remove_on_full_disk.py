"""Remove a person while the gallery file itself cannot be written beyond a limit.

Arguments: gallery path, name, limit in bytes. Prints what was reported.
"""

from __future__ import annotations

import resource
import sys

from faceflow.gallery import Gallery


def main() -> None:
    limit = int(sys.argv[3])
    gallery = Gallery.open(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    change = gallery.remove_person(sys.argv[2])
    sys.stdout.write(f"{change.faces} {change.erased} {len(gallery)}\n")
    gallery.close()


if __name__ == "__main__":
    main()
