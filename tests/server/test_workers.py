"""Several workers behind one address: one state, replaced when they die, stopped together."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import squares
from processes import Process, chain, children

from faceflow.errors import FaceflowError, InputError
from faceflow.server.client import ServiceError
from faceflow.server.settings import ServerSettings
from faceflow.server.workers import Workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_workers_share_everything_and_one_that_dies_is_replaced(
    folder: Path, start: Callable[..., Process]
) -> None:
    service = start(slow=0.2, workers=2)
    assert service.key.startswith("ffk_")
    with service.client() as client:
        client.create_gallery("a", network="blocks")

        def enroll(number: int) -> int:
            with service.client() as own:  # a connection of its own, so both are asked
                return own.enroll("a", squares.photo((number, 0)), f"P{number}").face.id

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(enroll, range(8))) == list(range(1, 9))

        def told() -> bool:
            """Whichever worker is asked, in the end it knows of what all enrolled."""
            text = client._request("GET", "/metrics").data.decode()
            counted = 'method="POST",route="/v1/galleries/{gallery}/faces",status="201"} 8' in text
            return counted and "faceflow_ready 2" in text

        until(told)
        found = client.search("a", squares.photo((5, 3)))
        assert found.candidates[0].person.name == "P5"
        first = children(service.process.pid)
        assert len(first) == 2
        victim = min(first)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(now := children(service.process.pid)) == 2 and victim not in now)
        # A request that the dead one had may be lost, the next is answered.
        until(lambda: answered(service, found.id), 20)

    def ask(_: int) -> str:
        with service.client() as own:
            return own.search("a", squares.photo((1, 0))).id

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, n) for n in range(4)]
        time.sleep(0.3)
        code, said = service.stop()
        assert all(one.result() for one in asked)  # what ran was finished
    assert code == 0
    assert "another takes its place" in said
    assert "SIGKILL" in said
    assert "Traceback" not in said
    assert "ffk_" not in said
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in first), 10)
    chain(folder)


def answered(service: Process, search: str) -> bool:
    try:
        with service.client() as client:
            return client.kept_search("a", search).id == search
    except ServiceError as error:
        if error.status:
            raise
        return False


def test_workers_end_with_the_first_process(folder: Path, start: Callable[..., Process]) -> None:
    service = start(workers=2)
    with service.client() as client:
        client.create_gallery("a", network="blocks")
    workers = children(service.process.pid)
    assert len(workers) == 2
    service.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20)
    chain(folder)


def test_workers_that_cannot_start_are_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceflow.server import serving, workers

    boot = "import sys; sys.stderr.write('no gallery today'); sys.exit(7)"
    monkeypatch.setattr(workers, "_BOOT", boot)
    settings = ServerSettings(tmp_path, port=0, workers=2)
    listener = serving.listen(settings)
    try:
        with (tmp_path / "messages").open("w") as messages, monkeypatch.context() as patch:
            # The command line keeps the descriptor 2 from its libraries.
            patch.setattr(sys, "stderr", messages)
            with pytest.raises(FaceflowError, match="as soon as they are started") as told:
                Workers(2, listener, None, seconds=1).run()
    finally:
        listener.close()
    assert "status 7" in str(told.value)
    assert "no gallery today" in (tmp_path / "messages").read_text()


@pytest.mark.parametrize("count", [0, 65])
def test_how_many(count: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers"):
        ServerSettings(tmp_path, workers=count)
