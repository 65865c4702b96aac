"""Kill shards, raylets and PostgreSQL at random while clients search, and count what they saw.

    python benchmarks/cluster/kills.py --minutes 10

A Ray cluster of three raylets on this machine, a gallery in a file or (--postgres) in a server of
its own, two shards with two replicas, two threads that search all the time and one that enrolls and
removes. Every answer is compared with the single gallery's for the same state. Prints a table: what
was killed, how often, and what clients saw until all was well again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from faceflow.cluster import deployment
from faceflow.cluster.sharded import ShardedGallery
from faceflow.errors import FaceflowError
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, Gallery, GalleryLocation
from faceflow.matching.identification import identify

DIGEST = "d1" * 32
RECOVERY = 180.0


def faces(n: int, seed: int) -> FaceFeatures:
    rng = np.random.default_rng(seed)
    return FaceFeatures.from_maps(
        rng.standard_normal((n, 32)),
        rng.standard_normal((n, 16, 4, 4)),
        digest=features_digest(DIGEST),
    )


def photos(n: int, seed: int) -> list[Enrolment]:
    made = faces(n, seed)
    return [
        Enrolment(
            f"Person {i % 13}", "x", hashlib.sha256(f"{seed}/{i}".encode()).hexdigest(), made[i]
        )
        for i in range(n)
    ]


class Clients:
    """Two that search and one that writes; what they saw, by what was being killed."""

    def __init__(self, location: GalleryLocation, single: Gallery) -> None:
        self.location = location
        self.single = single
        self.killing = "nothing"
        self.seen: dict[str, Counter[str]] = defaultdict(Counter)
        self.acknowledged = 0
        self.good = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._search, args=(n,)) for n in range(2)]
        self._threads.append(threading.Thread(target=self._write))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _note(self, what: str) -> None:
        self.seen[self.killing][what] += 1

    def _search(self, number: int) -> None:
        query = faces(1, 1000 + number)
        with deployment.open_sharded(self.location) as front:
            while not self._over.is_set():
                try:
                    # The same state for both: compared only if nobody has written in between.
                    before = self.single.revision
                    found = identify(query, front)
                    expected = identify(query, self.single)
                    if before == self.single.revision:
                        same = [one.faces for one in found] == [one.faces for one in expected]
                        self._note("right" if same else "WRONG")
                    else:
                        self._note("answered while written")
                    self.good += 1
                except FaceflowError as error:
                    self._note(f"{type(error).__name__} (search)")

    def _write(self) -> None:
        seed = 0
        with deployment.open_sharded(self.location, readonly=False) as front:
            while not self._over.is_set():
                seed += 1
                try:
                    self._enroll(front, seed)
                    if seed % 5 == 0:
                        front.remove_face(int(front.faces(limit=1)[0].face_id))
                except FaceflowError as error:
                    self._note(f"{type(error).__name__} (write)")
                    time.sleep(0.2)

    def _enroll(self, front: ShardedGallery, seed: int) -> None:
        front.enroll(photos(2, seed))
        self.acknowledged += 2
        for one in photos(2, seed):
            if not front.people_with(one.content_hash):
                self._note("ACKNOWLEDGED AND LOST")
        self._note("written")


def kinds(cluster: Any, location: GalleryLocation, server: Any) -> dict[str, Callable[[], None]]:
    """What can be killed."""

    def replicas() -> list[Any]:
        with Gallery.open(location.secret, readonly=True) as gallery:
            found = deployment.status(gallery._store)
        return [one for one in found if one.where is not None]

    def kill(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def one_replica() -> None:
        kill(random.choice(replicas()).where.pid)

    def one_shard() -> None:
        shard = random.randrange(2)
        for one in replicas():
            if one.shard == shard:
                kill(one.where.pid)

    def hung_replica() -> None:
        pid = random.choice(replicas()).where.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def one_machine() -> None:
        node = random.choice(list(cluster.worker_nodes))
        lost = [one.where.pid for one in replicas() if one.where.node == node.node_id]
        cluster.remove_node(node, allow_graceful=False)
        for pid in lost:
            kill(pid)
        time.sleep(2)
        cluster.add_node(num_cpus=4)

    def postgres() -> None:
        server.kill()
        time.sleep(2)
        server.start()

    found = {
        "a replica (SIGKILL)": one_replica,
        "a replica (SIGSTOP for 4 s)": hung_replica,
        "all replicas of a shard (SIGKILL)": one_shard,
        "a raylet and its actors (SIGKILL)": one_machine,
    }
    return found | ({"PostgreSQL (SIGKILL)": postgres} if server is not None else {})


def run(cluster: Any, location: GalleryLocation, server: Any, minutes: float) -> bool:
    with Gallery.open(location.secret, readonly=True) as single:
        times: Counter[str] = Counter()
        slowest: dict[str, float] = defaultdict(float)
        with Clients(location, single) as clients:
            things = kinds(cluster, location, server)
            end = time.monotonic() + minutes * 60
            while time.monotonic() < end or len(times) < len(things):
                name = min(things, key=lambda one: (times[one], random.random()))
                time.sleep(2)
                clients.killing = name
                times[name] += 1
                things[name]()
                start, before = time.monotonic(), clients.good
                while not _well(location) or clients.good < before + 4:
                    if time.monotonic() - start > RECOVERY:
                        print(f"NOT WELL after {RECOVERY:.0f} s: {name}")
                        return False
                    time.sleep(0.5)
                slowest[name] = max(slowest[name], time.monotonic() - start)
                clients.killing = "nothing"
        single.check()
        print(f"{'killed':36} times  well again after at most   clients saw")
        for name in ["nothing", *times]:
            saw = ", ".join(f"{n:,} {what}" for what, n in clients.seen[name].most_common())
            print(f"{name:36} {times[name]:5} {slowest[name]:17.1f} s          {saw}")
        print(f"{clients.acknowledged:,} faces acknowledged; the gallery's own check is clean")
        return not any("WRONG" in what or "LOST" in what for saw in clients.seen.values()
                       for what in saw)  # fmt: skip


def _well(location: GalleryLocation) -> bool:
    try:
        with Gallery.open(location.secret, readonly=True) as gallery:
            return all(one.standing is not None for one in deployment.status(gallery._store))
    except FaceflowError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill parts of a cluster, count what clients saw.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--postgres", action="store_true", help="keep the gallery in PostgreSQL")
    options = parser.parse_args()
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_TMPDIR": tempfile.mkdtemp(prefix="ffk", dir="/tmp"),
    }
    import ray
    from ray.cluster_utils import Cluster

    from local_postgres import LocalPostgres

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    server = LocalPostgres() if options.postgres else None
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=4)
        ray.init(address=cluster.address, namespace="faceflow", log_to_driver=False,
                 logging_level="ERROR")  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            place = server.new_url() if server else str(Path(folder) / "people.faceflow")
            with Gallery.create(
                place, network_name="testnet", digest=DIGEST, embedding_size=32, grid=(4, 4),
                channels=16,
            ) as made:  # fmt: skip
                made.enroll(photos(60, 0))
            location = GalleryLocation(place)
            deployment.start(location, deployment.Layout(2, 2))
            good = run(cluster, location, server, options.minutes)
    finally:
        ray.shutdown()
        cluster.shutdown()
        if server is not None:
            server.remove()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
