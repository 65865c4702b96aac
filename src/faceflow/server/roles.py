"""Who may do what: a role is a set of permissions, a key has one role."""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """One kind of thing that a request does."""

    SEARCH = "search"
    """Search, verify, explain, compare, what-if; see candidates with names and thumbnails."""
    READ_PEOPLE = "read people"
    """List people and faces, see thumbnails and consent."""
    ENROLL = "enroll"
    """Add faces, start and cancel jobs."""
    MANAGE_PEOPLE = "manage people"
    """Rename, merge, split, remove people and faces; consent and expiry."""
    MARK = "mark"
    """Say that a search's candidate is not the person, and take it back."""
    OPEN_CASE = "open case"
    """Keep a search as a case and append the first decision."""
    REVIEW_CASE = "review case"
    """Decide a case a second or third time, blind to the others."""
    READ_CASES = "read cases"
    """List and export cases."""
    READ_AUDIT = "read audit"
    """Read and verify the audit log."""
    ADMINISTER = "administer"
    """Make and delete galleries, make and revoke keys, change settings."""


class Role(StrEnum):
    """The roles a key can have, from the least."""

    SEARCHER = "searcher"
    ENROLLER = "enroller"
    EXAMINER = "examiner"
    REVIEWER = "reviewer"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


_P = Permission

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.SEARCHER: frozenset({_P.SEARCH}),
    Role.ENROLLER: frozenset({_P.READ_PEOPLE, _P.ENROLL, _P.MANAGE_PEOPLE}),
    Role.EXAMINER: frozenset({_P.SEARCH, _P.READ_PEOPLE, _P.MARK, _P.OPEN_CASE, _P.READ_CASES}),
    # A reviewer sees a case without its decisions until theirs is in; see cases.
    Role.REVIEWER: frozenset({_P.SEARCH, _P.READ_PEOPLE, _P.MARK, _P.REVIEW_CASE, _P.READ_CASES}),
    Role.AUDITOR: frozenset({_P.READ_CASES, _P.READ_AUDIT}),
    Role.ADMINISTRATOR: frozenset(Permission),
}


def allows(role: Role, permission: Permission) -> bool:
    """Whether a role holds a permission."""
    return permission in PERMISSIONS[role]
