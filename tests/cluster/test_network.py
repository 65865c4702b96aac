"""Shards on machines with a network between them: delay, loss, a partition.

Machines are network namespaces of this one, joined by pairs of virtual cables; `tc` spoils these.
Needs root, `ip` and `tc`, else it is skipped and says why; on a kernel without netem a cable can
only be cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Make = Callable[..., Any]
PATIENCE = 240
PREFIX = "fftest"


def command(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True, **options)


class Namespaces:
    """A switch on this machine (10.91.7.1), and machines behind cables (10.91.7.2 and on)."""

    def __init__(self, machines: int) -> None:
        self.names = [f"{PREFIX}{n}" for n in range(machines)]
        self.bridge = f"{PREFIX}br"
        self.can_spoil = True
        self.remove()  # what a killed run has left
        command("ip", "link", "add", self.bridge, "type", "bridge")
        command("ip", "addr", "add", "10.91.7.1/24", "dev", self.bridge)
        command("ip", "link", "set", self.bridge, "up")
        for n, name in enumerate(self.names):
            command("ip", "netns", "add", name)
            command("ip", "link", "add", f"{name}v", "type", "veth", "peer", "name", f"{name}p")
            command("ip", "link", "set", f"{name}p", "netns", name)
            command("ip", "link", "set", f"{name}v", "master", self.bridge)
            command("ip", "link", "set", f"{name}v", "up")
            self.inside(n, "ip", "addr", "add", f"10.91.7.{n + 2}/24", "dev", f"{name}p")
            self.inside(n, "ip", "link", "set", f"{name}p", "up")
            self.inside(n, "ip", "link", "set", "lo", "up")

        try:
            self.spoil(0, "delay", "1ms")
            self.spoil(0)
        except subprocess.CalledProcessError:  # a kernel without netem: only cutting is left
            self.can_spoil = False

    def inside(self, machine: int, *words: str) -> None:
        command("ip", "netns", "exec", self.names[machine], *words)

    def spoil(self, machine: int, *how: str) -> None:
        """As `tc` says: "delay 20ms 5ms loss 1%"; nothing makes the cable good again."""
        cable = f"{self.names[machine]}v"
        subprocess.run(
            ["tc", "qdisc", "del", "dev", cable, "root"], capture_output=True, check=False
        )
        if how and self.can_spoil:
            command("tc", "qdisc", "add", "dev", cable, "root", "netem", *how)

    def cut(self, machine: int, *, off: bool) -> None:
        command("ip", "link", "set", f"{self.names[machine]}v", "down" if off else "up")

    def remove(self) -> None:
        for name in self.names:
            pids = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True, check=False
            ).stdout.split()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            # A namespace goes when its last process has gone; the cable need not wait for that.
            for words in (["link", "del", f"{name}v"], ["netns", "del", name]):
                subprocess.run(["ip", *words], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, check=False)


@pytest.fixture
def network() -> Iterator[Namespaces]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root")
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("there is no ip or no tc here (Debian: iproute2)")
    try:
        made = Namespaces(2)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel makes no such network: {error.stderr.strip()}")
    yield made
    made.remove()


DRIVER = textwrap.dedent(
    """
    import sys, time, json
    import numpy as np
    from faceflow.cluster.deployment import Layout, open_sharded, start
    from faceflow.cluster.joining import joined
    from faceflow.errors import FaceflowError
    from faceflow.features import FaceFeatures, features_digest
    from faceflow.gallery import Gallery, GalleryLocation
    from faceflow.matching.identification import identify

    address, path = sys.argv[1:3]
    rng = np.random.default_rng(4)
    query = FaceFeatures.from_maps(rng.standard_normal((1, 32)),
                                   rng.standard_normal((1, 16, 4, 4)),
                                   digest=features_digest("d1" * 32))
    place = GalleryLocation(path)
    with joined(address):
        start(place, Layout(1, 2))
        with Gallery.open(path, readonly=True) as single:
            expected = [one.faces for one in identify(query, single)]
        with open_sharded(place) as front:
            print("ready", flush=True)
            for line in sys.stdin:
                seconds, good, bad, slowest = float(line), 0, [], 0.0
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    began = time.monotonic()
                    try:
                        same = [one.faces for one in identify(query, front)] == expected
                        good += same
                        if not same:
                            bad.append("another answer")
                    except FaceflowError as error:
                        bad.append(str(error))
                    slowest = max(slowest, time.monotonic() - began)
                print(json.dumps([good, bad, slowest]), flush=True)
    """
)


def test_delay_loss_and_a_partition_cost_no_search(
    network: Namespaces, tmp_path: Path, create: Make, enrolments: Make
) -> None:
    if not os.environ.get("SLOW_TESTS"):
        pytest.skip("takes a minute: set SLOW_TESTS=1")
    pytest.importorskip("psycopg")
    path = tmp_path / "people.faceflow"
    with create(path) as made:
        made.enroll(enrolments(30, people=8))
    folder = Path(tempfile.mkdtemp(prefix="ffn", dir="/tmp"))
    variables = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_initial_delay_ms": "1000",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "3000",
        "RAY_health_check_failure_threshold": "3",
        "TMPDIR": str(folder),
    }
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    running = []

    def raylet(prefix: list[str], name: str, *words: str) -> None:
        running.append(
            subprocess.Popen(
                [*prefix, *ray, "start", "--block", "--disable-usage-stats",
                 "--temp-dir", str(folder / name), *words],
                env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )  # fmt: skip

    driver = None
    try:
        raylet([], "h", "--head", "--node-ip-address", "10.91.7.1", "--port", "6391",
               "--num-cpus", "0", "--include-dashboard", "false")  # fmt: skip
        time.sleep(8)
        for n, name in enumerate(network.names):
            raylet(["ip", "netns", "exec", name], name, "--address", "10.91.7.1:6391",
                   "--node-ip-address", f"10.91.7.{n + 2}", "--num-cpus", "1")  # fmt: skip
        time.sleep(8)
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, "10.91.7.1:6391", str(path)],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdout is not None
        assert driver.stdin is not None
        assert driver.stdout.readline() == "ready\n"

        def search(seconds: float) -> tuple[int, list[str], float]:
            assert driver is not None
            assert driver.stdout is not None
            assert driver.stdin is not None
            driver.stdin.write(f"{seconds}\n")
            driver.stdin.flush()
            while True:  # Ray says on stdout that a machine is gone
                line = driver.stdout.readline()
                assert line, f"the driver ended: {driver.wait(10)}"
                if line.startswith("["):
                    with contextlib.suppress(ValueError):
                        good, bad, slowest = json.loads(line)
                        break
            sys.stderr.write(f"{good} searches, {bad}, slowest {slowest:.2f} s\n")
            return good, bad, slowest

        spoilt = (("delay", "20ms", "5ms"), ("delay", "10ms", "loss", "3%"))
        for how in ((), *(spoilt if network.can_spoil else ())):
            network.spoil(0, *how)
            good, bad, _ = search(5)
            assert good
            assert not bad
        network.spoil(0)
        network.cut(0, off=True)
        good, bad, _ = search(15)  # longer than Ray takes to give the machine up
        assert good
        assert not bad
        network.cut(0, off=False)
        good, bad, _ = search(10)
        assert good
        assert not bad
    finally:
        if driver is not None:
            driver.kill()
            driver.communicate()
        for one in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
        _end_leftovers(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _end_leftovers(folder: Path) -> None:
    """Processes of Ray that were started from a folder of ours."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder) in place.read_text(errors="replace"):
                os.kill(int(place.parent.name), signal.SIGKILL)
