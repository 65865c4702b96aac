"""What a service is told when it starts; one frozen value, checked once."""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass, field
from pathlib import Path

from faceflow.errors import InputError
from faceflow.gallery import GalleryLocation

MIB = 1 << 20
MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request, one key and the whole service may use.

    Attributes:
        photo_bytes: of one uploaded photo.
        decoded_bytes: of one photo's pixels.
        photos: in one request.
        request_bytes: of a whole request; bodies are cut while they stream in.
        seconds: for one photo's decoding, and for one search.
        searches: computed at once; more wait in the queue.
        queue: requests that may wait for a place; more are answered 429.
        requests: in flight at once, in one process; more are answered 503.
        per_minute: requests of one key, in one process.
        candidates: the largest k.
        upload_seconds: for a whole request to arrive.
        search_hours: how long a search can be asked about before it is forgotten.
    """

    photo_bytes: int = 20 * MIB
    decoded_bytes: int = 256 * MIB
    photos: int = 100
    request_bytes: int = 256 * MIB
    seconds: float = 30.0
    searches: int = 2
    queue: int = 64
    requests: int = 200
    per_minute: int = 1200
    candidates: int = 1000
    upload_seconds: float = 120.0
    search_hours: float = 24.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise InputError(f"the limit {name} is {getattr(self, name)}", why="it must be > 0")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Where a service keeps things, whom it listens to, and its limits.

    Attributes:
        galleries: a folder of galleries, one gallery file, or one gallery in a PostgreSQL server.
        state: the file of keys, jobs, cases and the audit log; default: beside the galleries,
            which a server's gallery does not have.
        host, port: where it listens.
        certificate, key: PEM files of a TLS certificate; both or neither.
        public: the operator's word that a plain public address is meant, because something in
            front of the service encrypts.
        offline: never fetch network weights.
        threads: CPU threads of the networks in each process; None: all cores, shared by the
            workers.
        workers: processes that answer.
        device: where networks run and faces are ranked, see
            :func:`faceflow.weights.devices.resolve`.
        limits: see :class:`Limits`.
        origins: addresses that a browser may show for the pages, e.g. ``https://faces.example``;
            default: the one the service listens at.
        query_network: a student that looks at queries, in galleries of its teacher; in others
            their own network does.
        cluster: a Ray cluster whose shards search the galleries, see docs/cluster.md; None: each
            worker does.
    """

    galleries: Path | GalleryLocation
    state: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8765
    certificate: Path | None = None
    key: Path | None = None
    public: bool = False
    offline: bool = False
    threads: int | None = None
    workers: int = 1
    device: str | None = None
    limits: Limits = field(default_factory=Limits)
    origins: tuple[str, ...] = ()
    query_network: str | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InputError(
                "a certificate needs its key and a key its certificate",
                todo="give both --certificate and --certificate-key, or neither",
            )
        if not 0 <= self.port <= 65535:
            raise InputError(f"the port is {self.port}", why="it must lie between 0 and 65535")
        if not is_loopback(self.host) and self.certificate is None and not self.public:
            raise InputError(
                f"{self.host} can be reached from other machines",
                why="without a certificate, keys and faces would cross the network unencrypted",
                todo="listen on 127.0.0.1, give --certificate and --certificate-key, or say "
                "--public when a proxy in front of the service encrypts",
            )

        if self.state is None and not isinstance(self.galleries, Path):
            raise InputError(
                "It is not said where the service keeps keys, cases and the audit log",
                why="beside a gallery in a database there is no folder",
                todo="give --state FILE",
            )
        if not 1 <= self.workers <= MOST_WORKERS:
            raise InputError(
                f"{self.workers} workers were asked for", why=f"it takes 1 to {MOST_WORKERS}"
            )
        if self.workers > 1 and sys.platform == "win32":
            raise InputError("Windows has one worker", todo="leave out --workers")

    @property
    def state_path(self) -> Path:
        """The state file."""
        if self.state is not None:
            return self.state
        assert isinstance(self.galleries, Path)
        if self.galleries.is_dir():
            return self.galleries / "faceflow-server.state"
        return self.galleries.with_name(f"{self.galleries.name}.state")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than localhost counts as not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
