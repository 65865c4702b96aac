"""Ask a faceflow service from Python; answers are the typed models of :mod:`.schemas`.

Example::

    from faceflow.server.client import Client

    with Client("http://127.0.0.1:8765", "ffk_...") as faces:
        answer = faces.search("people", "covered.jpg")
        for candidate in answer.candidates:
            print(candidate.person.name, candidate.score)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import urllib3

from faceflow.errors import FaceflowError, ImageError, InputError
from faceflow.faces.images import read_photo
from faceflow.server import schemas
from faceflow.server.schemas import Model, Page

M = TypeVar("M", bound=Model)
Photo = str | Path | bytes | tuple[str, bytes]
"""A path on this machine, or bytes, alone or with a name."""
_UNSENDABLE = frozenset('/\\"\r\n')
"""What the person's part of a photo's file name in a form cannot hold."""

_TIMEOUT = urllib3.Timeout(connect=10, read=120)


class ServiceError(FaceflowError):
    """What a service answered instead of what it was asked for.

    Attributes:
        status: of HTTP; 0 where it could not be reached.
        code: the problem's short word, e.g. "not-found".
        request_id: to tell the operator.
        retry_after: seconds after which it is worth trying again, if it says so.
    """

    def __init__(
        self,
        what: str,
        *,
        why: str = "",
        todo: str = "",
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(what, why=why, todo=todo)
        self.status, self.code, self.request_id = status, code, request_id
        self.retry_after = retry_after


class Client:
    """One service, asked with one key. Safe to use from several threads.

    Args:
        url: the service's address, e.g. ``http://127.0.0.1:8765``.
        key: ``ffk_...``.
        certificate: PEM file of the authority to trust, for a certificate of your own. Without
            it those of the system; a certificate that nobody vouches for is refused.
        patience: seconds to wait in all for a service that says it is busy (429, 503); 0 raises at
            once.

    Raises:
        InputError: the address is none, the key cannot be one, or there is no such PEM file.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        certificate: str | Path | None = None,
        patience: float = 0.0,
    ) -> None:
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InputError("the key is none", why="it is made of letters, digits, _ and -")
        if not url.startswith(("http://", "https://")):
            raise InputError(f"{url!r} is no address of a service", todo="it begins with http")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        # Redirects would carry the key to whoever the answer names.
        options: dict[str, Any] = {"retries": False, "timeout": _TIMEOUT, "maxsize": 8}
        if certificate is not None:
            if not Path(certificate).is_file():
                raise InputError(f"there is no certificate at {certificate}")
            options["ca_certs"] = str(certificate)
        self._patience = patience
        self._pool = urllib3.PoolManager(**options)

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Galleries

    def galleries(self) -> Iterator[schemas.Gallery]:
        """Galleries that the key may know of."""
        return self._all(schemas.Galleries, "/v1/galleries", lambda page: page.items)

    def create_gallery(
        self, name: str, *, network: str | None = None, detector: str | None = None
    ) -> schemas.Gallery:
        """Make an empty gallery."""
        sent = {"name": name, "network": network, "detector": detector}
        return self._ask(schemas.Gallery, "POST", "/v1/galleries", json=sent)

    def gallery(self, name: str) -> schemas.Gallery:
        """One gallery."""
        return self._ask(schemas.Gallery, "GET", _of(name))

    def change_gallery(self, name: str, *, min_quality: str) -> schemas.Gallery:
        """Say how bad a searched face may be before nobody is named: good, fair or poor."""
        return self._ask(schemas.Gallery, "PATCH", _of(name), json={"min_quality": min_quality})

    def delete_gallery(self, name: str) -> schemas.Certificate:
        """Delete a gallery with everyone in it."""
        return self._ask(schemas.Certificate, "DELETE", _of(name))

    # People and faces

    def people(self, gallery: str, *, q: str = "") -> Iterator[schemas.Person]:
        """People by name."""
        path = f"{_of(gallery)}/people"
        return self._all(schemas.People, path, lambda page: page.items, {"q": q} if q else None)

    def person(self, gallery: str, person: str) -> schemas.Person:
        """One person."""
        return self._ask(schemas.Person, "GET", _of(gallery, "people", person))

    def rename(self, gallery: str, person: str, name: str) -> schemas.Person:
        """Give a person another name."""
        path = _of(gallery, "people", person)
        return self._ask(schemas.Person, "PATCH", path, json={"name": name})

    def set_consent(
        self, gallery: str, person: str, consent: schemas.Consent | None
    ) -> schemas.Person:
        """Say on what ground a person is enrolled, and until when."""
        sent = {"consent": None if consent is None else consent.model_dump(mode="json")}
        return self._ask(schemas.Person, "PATCH", _of(gallery, "people", person), json=sent)

    def delete_person(self, gallery: str, person: str) -> schemas.Certificate:
        """Delete a person with all faces."""
        return self._ask(schemas.Certificate, "DELETE", _of(gallery, "people", person))

    def merge(self, gallery: str, person: str, into: str) -> schemas.Merge:
        """Give all faces of a person to another one."""
        path = _of(gallery, "people", person, "merge")
        return self._ask(schemas.Merge, "POST", path, json={"into": into})

    def split(self, gallery: str, merge: str) -> schemas.Merge:
        """Undo a merge."""
        return self._ask(schemas.Merge, "POST", _of(gallery, "merges", merge, "split"))

    def faces(self, gallery: str, *, person: str | None = None) -> Iterator[schemas.Face]:
        """Faces of one person, or of all."""
        path = f"{_of(gallery)}/faces"
        wanted = {"person": person} if person else None
        return self._all(schemas.Faces, path, lambda page: page.items, wanted)

    def enroll(
        self, gallery: str, photo: Photo, person: str, *, repetition: str | None = None
    ) -> schemas.AddedFace:
        """Enroll the one face of a photo for a person of that name."""
        fields: list[Any] = [("person", person), ("image", _file(photo))]
        return self._ask(
            schemas.AddedFace, "POST", _of(gallery, "faces"), form=fields, repetition=repetition
        )

    def thumbnail(self, gallery: str, face: int) -> bytes:
        """The small JPEG of a face."""
        answer = self._request("GET", _of(gallery, "faces", str(face), "thumbnail"))
        return bytes(answer.data)

    # Searches

    def search(
        self,
        gallery: str,
        photo: Photo,
        *,
        repetition: str | None = None,
        **options: str | float | int,
    ) -> schemas.Search:
        """Find out who is in a photo.

        Args:
            gallery: its name.
            photo: a path on this machine, or bytes.
            repetition: the same text with the same request again gives the same search.
            options: face, top, threshold, min_quality, whole_image, k, alpha, weighting, patches,
                visible_share, epsilon.
        """
        fields: list[Any] = [(name, str(value)) for name, value in options.items()]
        fields.append(("image", _file(photo)))
        return self._ask(
            schemas.Search, "POST", _of(gallery, "searches"), form=fields, repetition=repetition
        )

    def kept_search(self, gallery: str, search: str) -> schemas.Search:
        """A search that was made before."""
        return self._ask(schemas.Search, "GET", _of(gallery, "searches", search))

    def explanation(self, gallery: str, search: str, face: int) -> schemas.Explanation:
        """Why a candidate's face has its score."""
        path = _of(gallery, "searches", search, "explanation")
        return self._ask(schemas.Explanation, "GET", path, query={"face_id": str(face)})

    def comparison(self, gallery: str, search: str, a: int, b: int) -> schemas.Comparison:
        """Why face ``a`` and not face ``b``."""
        path = _of(gallery, "searches", search, "comparison")
        return self._ask(schemas.Comparison, "GET", path, query={"a": str(a), "b": str(b)})

    def what_if(self, gallery: str, search: str, hidden: Sequence[int]) -> schemas.WhatIf:
        """The candidates without some cells of the query."""
        path = _of(gallery, "searches", search, "what-if")
        return self._ask(schemas.WhatIf, "POST", path, json={"hidden": list(hidden)})

    def verify(
        self, gallery: str, a: Photo, b: Photo, **options: str | float | int
    ) -> schemas.Verification:
        """Compare the largest faces of two photos as the gallery compares.

        Args:
            gallery: its name.
            a, b: paths on this machine, or bytes.
            options: threshold, alpha, weighting, patches, visible_share, epsilon.
        """
        fields: list[Any] = [("a", _file(a)), ("b", _file(b))]
        fields += [(name, str(value)) for name, value in options.items()]
        return self._ask(schemas.Verification, "POST", _of(gallery, "verify"), form=fields)

    def mark(self, gallery: str, search: str, person: str, note: str = "") -> schemas.Mark:
        """Say that a candidate is not the person."""
        sent = {"search": search, "person": person, "note": note}
        return self._ask(schemas.Mark, "POST", _of(gallery, "marks"), json=sent)

    # Jobs

    def enroll_many(
        self,
        gallery: str,
        photos: Sequence[tuple[str, Photo]],
        *,
        accept: Sequence[str] = (),
        repetition: str | None = None,
    ) -> schemas.Job:
        """Enroll photos, each with its person's name; they are worked on after the answer.

        Raises:
            InputError: a name with a slash, a quote or a line's end, which :meth:`enroll` takes.
        """
        fields: list[Any] = [("accept", ",".join(accept))] if accept else []
        for person, photo in photos:
            check_job_name(person)
            name, data, kind = _file(photo)
            fields.append(("images", (f"{person}/{name}", data, kind)))
        return self._ask(
            schemas.Job, "POST", _of(gallery, "jobs"), form=fields, repetition=repetition
        )

    def job(self, gallery: str, job: str) -> schemas.Job:
        """One job."""
        return self._ask(schemas.Job, "GET", _of(gallery, "jobs", job))

    def cancel(self, gallery: str, job: str) -> schemas.Job:
        """Do no more of a job."""
        return self._ask(schemas.Job, "DELETE", _of(gallery, "jobs", job))

    def watch(
        self, gallery: str, job: str, *, after: int = 0
    ) -> Iterator[tuple[int, schemas.JobPhoto]]:
        """What becomes of each photo of a job, as it happens, until the job is over.

        Args:
            gallery, job: which one.
            after: the number that came with the last one that was seen.
        """
        headers = {"Last-Event-ID": str(after)} if after else {}
        path = _of(gallery, "jobs", job, "events")
        answer = self._request("GET", path, headers=headers, stream=True)
        try:
            number, event = after, ""
            for line in _lines(answer):
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    event = value
                elif name == "data" and event == "photo":
                    yield number, self._read(schemas.JobPhoto, value)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error
        finally:
            answer.release_conn()

    # The service itself

    def settings(self) -> schemas.Settings:
        """The limits that hold, and what each role may do."""
        return self._ask(schemas.Settings, "GET", "/v1/settings")

    def change_limits(self, **limits: float | None) -> schemas.Settings:
        """Change limits for all of the service; None takes the one it was started with."""
        return self._ask(schemas.Settings, "PATCH", "/v1/settings", json={"limits": limits})

    # Audit

    def audit(self) -> Iterator[schemas.AuditEntry]:
        """The audit log, the oldest entry first."""
        return self._all(schemas.AuditPage, "/v1/audit", lambda page: page.items)

    # How

    def _all(
        self,
        kind: type[Any],
        path: str,
        items: Callable[[Any], list[M]],
        query: Mapping[str, str] | None = None,
    ) -> Iterator[M]:
        cursor: str | None = None
        while True:
            asked = dict(query or {}) | ({} if cursor is None else {"cursor": cursor})
            page = self._ask(kind, "GET", path, query=asked)
            yield from items(page)
            assert isinstance(page, Page)
            cursor = page.next
            if cursor is None:
                return

    def _ask(
        self,
        kind: type[M],
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        form: list[Any] | None = None,
        repetition: str | None = None,
    ) -> M:
        headers = {} if repetition is None else {"Idempotency-Key": repetition}
        answer = self._request(method, path, query=query, json=json, form=form, headers=headers)
        return self._read(kind, answer.data)

    def _read(self, kind: type[M], data: str | bytes) -> M:
        try:
            return kind.model_validate_json(data)
        except ValueError as error:
            raise ServiceError(
                f"{self._url} answered with something that cannot be read",
                why="it is no faceflow service, or one of another version",
                todo="check the address, and the versions here and there",
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        form: list[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> Any:
        sent: dict[str, Any] = {"headers": self._headers | dict(headers or {})}
        if json is not None:
            sent["json"] = json
        elif form is not None:
            sent["fields"] = form
        elif query:
            sent["fields"] = dict(query)
        waited = 0.0
        while True:
            answer = self._send(method, path, preload_content=not stream, **sent)
            if answer.status < 300:
                return answer
            data = answer.data
            answer.release_conn()
            problem = _problem(answer.status, data, answer.headers.get("Retry-After"))
            # Nothing was begun of what is refused so: any request may be sent again.
            wait = problem.retry_after
            if wait is None or waited + wait > self._patience:
                raise problem
            time.sleep(wait)
            waited += wait

    def _send(self, method: str, path: str, **sent: Any) -> Any:
        try:
            return self._pool.request(method, self._url + path, redirect=False, **sent)
        except urllib3.exceptions.SSLError as error:
            raise ServiceError(
                f"The service at {self._url} did not show a certificate that can be trusted",
                why=str(error),
                todo="name the authority's PEM file if it is one of your own, and go on in no "
                "other way",
            ) from error
        except urllib3.exceptions.LocationParseError as error:
            raise InputError(f"{self._url!r} is no address of a service", why=str(error)) from error
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"The service at {self._url} cannot be asked",
            why=str(error),
            todo="check the address, and whether it runs",
        )


def check_job_name(person: str) -> None:
    """Refuse a person's name that a job cannot be told.

    Raises:
        InputError: it holds a slash, a quote or a line's end.
    """
    if _UNSENDABLE & set(person):
        raise InputError(
            f"the name {person!r} cannot be sent in a job",
            why="it holds a slash, a quote or a line's end",
        )


def _of(gallery: str, *parts: str) -> str:
    return "/v1/galleries/" + "/".join(quote(part, safe="") for part in (gallery, *parts))


def _file(photo: Photo) -> tuple[str, bytes, str]:
    """A form's field: name, bytes, kind. The name is the last part of a path alone."""
    if isinstance(photo, tuple):
        name, data = photo
    else:
        name = "photo" if isinstance(photo, bytes) else Path(photo).name
        data = read_photo(photo)
    if not data:
        raise ImageError(f"{name} is empty", why="it holds zero bytes")
    return name, data, "application/octet-stream"


def _problem(status: int, data: bytes, retry_after: str | None) -> ServiceError:
    wait = float(retry_after) if retry_after and retry_after.isdecimal() else None
    try:
        told = schemas.ProblemDocument.model_validate_json(data)
    except ValueError:
        return ServiceError(
            f"The service answered with the status {status}",
            why="and with no problem document, so something else may have answered",
            status=status,
            retry_after=wait,
        )
    return ServiceError(
        told.detail,
        why=told.why or "",
        todo=told.todo or "",
        status=status,
        code=told.type.rpartition(":")[2],
        request_id=told.request_id,
        retry_after=wait,
    )


def _lines(answer: Any) -> Iterator[str]:
    """Lines of a stream as they come."""
    rest = b""
    for chunk in answer.read_chunked(decode_content=False):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode()
