"""Where the bytes of a face lie in the SQLite file, so that removing them removes them.

``PRAGMA secure_delete`` zeroes what is deleted. But when SQLite splits or merges b-tree
pages it moves neighbouring rows, and a stale copy of a moved row can stay in the page's
unallocated space, where a later deletion of that row does not reach it (measured: 1 in 1,000
deleted rows left its name, file name or part of its picture in the file).

Overflow pages have no such copies: they belong to one row, are never split, merged or moved,
and are zeroed whole when freed. The file format says exactly which bytes of a row overflow
(https://www.sqlite.org/fileformat2.html, "Cell payload overflow pages"). So a face row opens
with padding that fills the part kept inside the b-tree page, and closes with padding that
keeps this part at its minimum; everything that says something about a person lies between.

Small tables that are looked up by secret content (names, photo hashes) cannot be padded; the
store writes them anew in full when something in them is removed.
"""

from __future__ import annotations

# Record header and row id need 10 to 30 bytes before the columns; the target below has more
# room than that on both sides for every page size in use.
_ROW_OVERHEAD = 20


def page_size(face_bytes: int) -> int:
    """Small pages waste little on a face's last page, large ones are read faster.

    A face of the default network takes 1% more in pages of 2048 bytes than in 1024, and its patches
    are read in 0.7 times the time. Opening a gallery reads every page of its embeddings by a call
    of its own: half as many.
    """
    return 2048 if face_bytes <= 16 * 1024 else 4096


def minimum_local(usable: int) -> int:
    """The least bytes of an overflowing table row that stay in its b-tree page."""
    return (usable - 12) * 32 // 255 - 23


def local_bytes(payload: int, usable: int) -> int:
    """How many bytes of a table row of ``payload`` bytes stay in its b-tree page."""
    most, least = usable - 35, minimum_local(usable)
    if payload <= most:
        return payload
    kept = least + (payload - least) % (usable - 4)
    return kept if kept <= most else least


def closing_pad(content: int, usable: int) -> int:
    """Bytes to add behind ``content`` bytes of columns to keep the local part at its minimum.

    Args:
        content: bytes of all other columns, the opening padding included.
        usable: page size minus reserved bytes.
    """
    most, least = usable - 35, minimum_local(usable)
    target = (most - least + usable - 4) // 2
    return (target - (content + _ROW_OVERHEAD - least)) % (usable - 4)
