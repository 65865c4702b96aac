"""Open a gallery of a former format for writing and die when the n-th block was written.

Arguments: gallery path, n.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys

from faceflow.gallery import Gallery
from faceflow.gallery.stores.sqlite.blocks import Blocks, Rows

written = 0
write = Blocks._write


def die_at_last(blocks: Blocks, connection: sqlite3.Connection, first: int, rows: Rows) -> None:
    """What Blocks does, and then death."""
    global written
    # Pages reach the log before the transaction is over.
    connection.execute("PRAGMA cache_size = 1")
    write(blocks, connection, first, rows)
    written += 1
    if written == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Blocks._write = die_at_last  # type: ignore[method-assign]
    Gallery.open(sys.argv[1])
