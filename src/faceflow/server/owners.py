"""Which process works on something that several could work on, and whether it still lives."""

from __future__ import annotations

import os
import secrets
import socket

_HOST = socket.gethostname()


def new_owner() -> str:
    """A name for something in this process that works: where it runs, and a random part."""
    return f"{_HOST}:{os.getpid()}:{secrets.token_hex(4)}"


def is_gone(owner: str, own: str) -> bool:
    """Whether the process behind a name is known to have ended.

    Args:
        owner: the name.
        own: this process's. Another one with its number is one from before.
    """
    host, number, _ = owner.rsplit(":", 2)
    if host != _HOST or owner == own:
        return False  # nobody here can tell, or it is us
    if int(number) == os.getpid():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
