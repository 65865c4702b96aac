"""Keys: make, list, revoke."""

from __future__ import annotations

from datetime import UTC
from http import HTTPStatus

from fastapi import APIRouter

from faceflow.server import keys as kept_keys
from faceflow.server import schemas
from faceflow.server.problems import Problem, not_found
from faceflow.server.routes.common import Administrator, Cursor, Limit, Served, SomeId, problems

router = APIRouter(prefix="/v1/keys", tags=["keys"])


def _shown(key: kept_keys.Key) -> schemas.Key:
    return schemas.Key(
        id=key.id,
        name=key.name,
        role=key.role,
        galleries=None if key.galleries is None else sorted(key.galleries),
        created=key.created,
        expires=key.expires,
        revoked=key.revoked,
    )


def _within(key: kept_keys.Key, galleries: frozenset[str] | None) -> bool:
    """Whether a key may know of keys for these galleries."""
    return key.galleries is None or (galleries is not None and galleries <= key.galleries)


@router.get("", responses=problems())
def list_keys(
    served: Served, key: Administrator, limit: Limit = 100, cursor: Cursor = None
) -> schemas.Keys:
    """Keys by age, revoked ones too; of those for the galleries that the key may know of."""
    after = served.cursors.read("keys", cursor)
    known = [one for one in served.keys.all() if _within(key, one.galleries)]
    place = next((n + 1 for n, one in enumerate(known) if one.id == after), 0)
    page, more = known[place : place + limit], len(known) > place + limit
    served.audit.append(key.id, "list keys")
    return schemas.Keys(
        items=[_shown(one) for one in page],
        next=served.cursors.make("keys", page[-1].id) if more else None,
    )


@router.post("", status_code=HTTPStatus.CREATED, responses=problems())
def create_key(served: Served, key: Administrator, wanted: schemas.KeyCreate) -> schemas.NewKey:
    """Make a key. Its text is in this answer and nowhere else, so no repetition gives it again."""
    galleries = None if wanted.galleries is None else frozenset(wanted.galleries)
    if not _within(key, galleries):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "bound-key",
            "A key can be made only for the galleries that your own key is bound to",
        )
    expires = wanted.expires
    if expires is not None:
        expires = expires.replace(tzinfo=UTC) if expires.tzinfo is None else expires.astimezone(UTC)
    made, text = served.keys.create(wanted.name, wanted.role, wanted.galleries, expires)
    served.audit.append(key.id, "make a key", subjects=(made.id,), role=made.role.value)
    return schemas.NewKey(key=_shown(made), text=text)


@router.delete("/{key_id}", responses=problems())
def revoke_key(served: Served, key: Administrator, key_id: SomeId) -> schemas.Key:
    """Revoke a key for good; it stays in the list."""
    known = {one.id: one for one in served.keys.all() if _within(key, one.galleries)}
    if key_id not in known:
        raise not_found(f"key {key_id!r}")
    revoked = served.keys.revoke(key_id)
    served.audit.append(key.id, "revoke a key", subjects=(key_id,))
    return _shown(revoked)
