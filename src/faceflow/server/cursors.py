"""Places in lists, signed: a client can give back the one it got and make up none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from faceflow.server.problems import Problem, invalid
from faceflow.server.state import State

_SIGNATURE = 16  # bytes


class Cursors:
    """Makes and reads the cursors of a service; those of one process are good in all."""

    def __init__(self, state: State) -> None:
        self._secret = state.secret("cursors")

    def make(self, listing: str, after: int | str) -> str:
        """The place behind an item.

        Args:
            listing: what is listed, with all that the order depends on; the cursor is good
                for it alone.
            after: the last item's key.
        """
        place = json.dumps(after).encode()
        return base64.urlsafe_b64encode(self._sign(listing, place) + place).decode().rstrip("=")

    def read(self, listing: str, cursor: str | None) -> int | str | None:
        """The key of the last item before; None at the start.

        Raises:
            Problem: not a cursor of this listing.
        """
        if cursor is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except ValueError:
            raise _wrong() from None
        signature, place = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(listing, place)):
            raise _wrong()
        found: int | str = json.loads(place)
        return found

    def _sign(self, listing: str, place: bytes) -> bytes:
        head = listing.encode()
        message = len(head).to_bytes(4, "big") + head + place
        return hmac.digest(self._secret, message, hashlib.sha256)[:_SIGNATURE]


def _wrong() -> Problem:
    return invalid(
        "The cursor is not one of this list",
        todo="give `next` of the page before, with the same filters, or none to start anew",
    )
