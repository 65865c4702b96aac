"""Run the service: announce the first key, listen, stop gracefully."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from faceflow.errors import FaceflowError
from faceflow.server.app import create_app
from faceflow.server.engine import Analyzers
from faceflow.server.keys import Keys
from faceflow.server.metrics import forget_workers
from faceflow.server.roles import Role
from faceflow.server.service import Service
from faceflow.server.settings import ServerSettings
from faceflow.server.state import State
from faceflow.server.workers import Workers, receive, watch

_GRACE = 30
"""Seconds that requests under way are given when the service stops."""


def first_key(settings: ServerSettings) -> str | None:
    """An administrator's key for a service that has none yet; None where there are keys.

    Raises:
        GalleryError: the state file cannot be used.
    """
    state = State(settings.state_path)
    try:
        keys = Keys(state)
        if keys.all():
            return None
        return keys.create("the first administrator", Role.ADMINISTRATOR)[1]
    finally:
        state.close()


def listen(settings: ServerSettings) -> socket.socket:
    """The socket that the service listens at; port 0 takes a free one.

    Raises:
        FaceflowError: somebody else listens there, or the address is not this machine's.
    """
    try:
        info = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(info[0], info[1])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(info[4])
        # From now on clients wait instead of being turned away.
        listener.listen(512)
    except OSError as error:
        raise FaceflowError(
            f"The service cannot listen at {settings.host}:{settings.port}",
            why=error.strerror or str(error),
            todo="stop what listens there, or choose another --port",
        ) from error
    return listener


def address(settings: ServerSettings, listener: socket.socket) -> str:
    """What to type into a browser."""
    scheme = "http" if settings.certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def log_to_stderr(level: int = logging.INFO) -> None:
    """A line a request on stderr, which systemd and containers keep."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("faceflow.server").setLevel(level)


def run(
    settings: ServerSettings, listener: socket.socket, analyzers: Analyzers | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what runs and return.

    With several workers this process only sees to them.

    Raises:
        GalleryError: the state file cannot be used.
        FaceflowError: workers end as soon as they are started.
    """
    if settings.workers == 1:
        _server(settings, analyzers).run(sockets=[listener])
        return
    state = State(settings.state_path)
    try:
        forget_workers(state)
    finally:
        state.close()
    job = (settings, analyzers)
    Workers(settings.workers, listener, job, seconds=_GRACE + 15).run()


def work() -> None:
    """Serve as one of several workers, until the first process says stop or is gone."""
    listener, level, (settings, analyzers) = receive()
    log_to_stderr(level)
    try:
        server = _server(settings, analyzers)
    except FaceflowError as error:
        logging.getLogger("faceflow.server").error("a worker cannot start: %s", error)
        sys.exit(error.exit_code)
    # As by a signal, because that is what uvicorn listens for.
    watch(lambda: signal.raise_signal(signal.SIGTERM))
    server.run(sockets=[listener])


def _server(settings: ServerSettings, analyzers: Analyzers | None) -> _Server:
    app = create_app(settings, analyzers)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it writes paths, which may name people; ours does not
        server_header=False,
        date_header=True,
        proxy_headers=False,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=64 * 1024,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    return _Server(config, app.state.service)


class _Server(uvicorn.Server):
    """Tells streams that the service is stopping, so that they end and it can."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop; the second one does not wait for what runs.

        The signal is not raised again afterwards, as uvicorn would: stopping is no failure.
        """
        self._service.ready = False
        self._service.stopping.set()
        self.force_exit = self.should_exit
        self.should_exit = True
