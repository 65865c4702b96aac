"""The same request twice is done once: ``Idempotency-Key``.

What is kept for a key is the id of what the first request made, never its answer, which may hold
names: the answer to a repetition is read anew.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool

from faceflow.server.problems import conflict, invalid
from faceflow.server.state import PARTS, State

PARTS.append(
    (
        "CREATE TABLE repetition(actor TEXT NOT NULL, name TEXT NOT NULL, request TEXT NOT NULL,"
        " made TEXT NOT NULL, result TEXT, PRIMARY KEY(actor, name))",
    )
)

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
_STUCK = timedelta(minutes=10)
"""A request that has not ended after so long died with its process."""
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class Repetitions:
    """What was made under which Idempotency-Key."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def once(
        self, actor: str, name: str | None, request: str, make: Callable[[], Awaitable[str]]
    ) -> tuple[str, bool]:
        """The id that ``make`` gives, or gave before.

        Args:
            actor: the key's id; another key's names are others.
            name: the header; None: always make.
            request: digest of all that the request asks.
            make: does the work and gives the id of what it made.

        Returns:
            The id, and whether it was made before.

        Raises:
            Problem: 422 for a name that was used for another request, 409 while the first one is
                still being worked on.
        """
        if name is None:
            return await make(), False
        if not _KEY.fullmatch(name):
            raise invalid(f"{HEADER} must be 1 to 200 visible ASCII characters")
        before = await run_in_threadpool(self._reserve, actor, name, request)
        if before is not None:
            return before, True
        try:
            result = await make()
        except BaseException:
            await run_in_threadpool(self._release, actor, name)
            raise
        await run_in_threadpool(self._keep, actor, name, result)
        return result, False

    def _reserve(self, actor: str, name: str, request: str) -> str | None:
        now = datetime.now(UTC)
        with self._state.writing() as connection:
            connection.execute(
                "DELETE FROM repetition WHERE made < ? OR (result IS NULL AND made < ?)",
                ((now - KEPT).isoformat(), (now - _STUCK).isoformat()),
            )
            row = connection.execute(
                "SELECT request, result FROM repetition WHERE actor = ? AND name = ?",
                (actor, name),
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO repetition VALUES(?, ?, ?, ?, NULL)",
                    (actor, name, request, now.isoformat()),
                )
                return None
        if row["request"] != request:
            raise invalid(f"This {HEADER} was used for another request", todo="choose a new one")
        if row["result"] is None:
            problem = conflict("in-progress", "The first request of this key is not done yet")
            problem.headers = {"Retry-After": "1"}
            raise problem
        return str(row["result"])

    def _release(self, actor: str, name: str) -> None:
        with self._state.writing() as connection:
            connection.execute("DELETE FROM repetition WHERE actor = ? AND name = ?", (actor, name))

    def _keep(self, actor: str, name: str, result: str) -> None:
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE repetition SET result = ? WHERE actor = ? AND name = ?",
                (result, actor, name),
            )


def status(repeated: bool) -> int:
    """201 for what was made now, 200 for what was made before."""
    return int(HTTPStatus.OK if repeated else HTTPStatus.CREATED)
