"""Shards as Ray actors on three raylets, and real kills: one cluster for all tests here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faceflow.cluster import deployment
from faceflow.cluster.deployment import Layout
from faceflow.cluster.sharded import ShardedGallery
from faceflow.errors import GalleryError, IncompleteGalleryError
from faceflow.gallery import Gallery, GalleryLocation
from faceflow.matching.identification import identify

# Ray reads how it authenticates when it is imported, so that has to wait for the fixture.
if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed (faceflow[ray])", allow_module_level=True)

Make = Callable[..., Any]
PATIENCE = 120
WORKER = Path(__file__).parent / "workers" / "enroll_through_shards.py"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for shards, and two machines with; all of them on 127.0.0.1."""
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_TMPDIR": tempfile.mkdtemp(prefix="ffr", dir="/tmp"),  # sockets need a short path
        "RAY_health_check_initial_delay_ms": "500",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "5000",
        "RAY_health_check_failure_threshold": "3",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        import ray
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        try:
            for _ in range(2):
                made.add_node(num_cpus=4)
            ray.init(
                address=made.address,
                namespace="faceflow",
                log_to_driver=False,
                logging_level="ERROR",
            )
            yield made
        finally:
            ray.shutdown()
            made.shutdown()


@pytest.fixture(scope="module")
def location(
    cluster: Any, tmp_path_factory: pytest.TempPathFactory, create: Make, enrolments: Make
) -> GalleryLocation:
    """A gallery of 40 faces on 2 shards with 2 replicas each."""
    path = tmp_path_factory.mktemp("ray") / "people.faceflow"
    with create(path) as made:
        made.enroll(enrolments(40, people=11))
    place = GalleryLocation(path)
    standing = deployment.start(place, Layout(2, 2))
    assert sorted(one.faces for one in standing) == [18, 18, 22, 22]
    return place


@pytest.fixture
def front(location: GalleryLocation) -> Iterator[ShardedGallery]:
    with deployment.open_sharded(location, readonly=False) as opened:
        yield opened


def replicas(location: GalleryLocation) -> list[deployment.ReplicaStatus]:
    with Gallery.open(location.secret, readonly=True) as gallery:
        return deployment.status(gallery._store)


def wait_until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def all_there(location: GalleryLocation) -> bool:
    return all(one.standing is not None for one in replicas(location))


@contextlib.contextmanager
def searching(front: ShardedGallery, query: Any, expected: Any) -> Iterator[list[Any]]:
    """Search all the time, on a thread; yields what came out so far."""
    answers: list[Any] = []
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            try:
                answers.append([one.faces for one in identify(query, front)] == expected)
            except Exception as error:  # what the test is about
                answers.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: answers)
    try:
        yield answers
    finally:
        over.set()
        thread.join(PATIENCE)


def test_the_same_bits_and_changes_through_real_actors(
    front: ShardedGallery, location: GalleryLocation, enrolments: Make, make_features: Make
) -> None:
    query = make_features(3, 5)
    with Gallery.open(location.secret, readonly=True) as single:
        for _ in range(2):
            found, expected = identify(query, front, explain=True), identify(query, single)
            assert [[(f.face_id, f.score) for f in one.faces] for one in found] == [
                [(f.face_id, f.score) for f in one.faces] for one in expected
            ]
            assert found[0].faces[0].plan is not None
            assert found[0].coverage is not None
            assert found[0].coverage.missing == ()
            front.enroll(enrolments(6, seed=3))
            front.remove_face(2)
            front.merge("Person 1", "Person 2")
            front.enroll(enrolments(3, people=2, seed=4))
            front.remove_face(3)
            # Before anybody has searched again.
            states = {one.standing.state for one in replicas(location) if one.standing}
            assert len(states) == 1
            with front._store.snapshot() as view:
                assert states.pop().token == view.token()  # type: ignore[union-attr]
            break
        assert [one.faces for one in identify(query, front)] == [
            one.faces for one in identify(query, single)
        ]


def test_replicas_of_a_shard_are_on_different_machines(location: GalleryLocation) -> None:
    found = replicas(location)
    assert len(found) == 4
    for shard in (0, 1):
        places = [one.where for one in found if one.shard == shard]
        assert len({place.node for place in places if place is not None}) == 2
    assert all(one.where is not None and one.where.authenticated for one in found)


def test_a_replica_killed_costs_no_search_and_comes_back(
    front: ShardedGallery, location: GalleryLocation, make_features: Make
) -> None:
    query = make_features(1, 6)
    expected = [one.faces for one in identify(query, front)]
    victim = next(one for one in replicas(location) if one.shard == 0)
    assert victim.where is not None
    with searching(front, query, expected) as answers:
        os.kill(victim.where.pid, signal.SIGKILL)
        before = len(answers)
        wait_until(lambda: len(answers) > before + 5)
    assert set(map(str, answers)) == {"True"}
    wait_until(lambda: all_there(location))
    assert victim.where.pid not in {one.where.pid for one in replicas(location) if one.where}


def test_a_shard_gone_is_an_error_until_ray_has_brought_it_back(
    front: ShardedGallery,
    location: GalleryLocation,
    make_features: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its processes are stopped first: Ray may replace killed ones before anybody asks."""
    query = make_features(1, 6)
    (whole,) = identify(query, front)
    monkeypatch.setattr(front._shards, "_timeout", 3.0)  # a minute otherwise
    held = [one.where.pid for one in replicas(location) if one.shard == 1 and one.where]
    assert len(held) == 2
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(IncompleteGalleryError, match="shard 1 of 2"):
            identify(query, front)
        with deployment.open_sharded(location, allow_partial=True) as partial:
            monkeypatch.setattr(partial._shards, "_timeout", 3.0)
            (part,) = identify(query, partial)
    finally:
        for pid in held:
            os.kill(pid, signal.SIGKILL)
    assert part.coverage is not None
    assert part.coverage.missing == (1,)
    # Every face of it is in its place, and none is of the shard that is gone.
    kept = [one.face_id for one in part.faces]
    assert kept == [one.face_id for one in whole.faces if one.face_id in kept]
    assert len(kept) < len(whole.faces)
    wait_until(lambda: all_there(location))
    monkeypatch.undo()
    (again,) = identify(query, front)
    assert again.faces == whole.faces


def test_a_machine_lost_costs_no_search(
    cluster: Any,
    front: ShardedGallery,
    location: GalleryLocation,
    make_features: Make,
    enrolments: Make,
) -> None:
    """The raylet is killed and, because they would go on answering, its actors too."""
    query = make_features(1, 6)
    expected = [one.faces for one in identify(query, front)]
    node = cluster.worker_nodes.copy().pop()
    lost = [one for one in replicas(location) if one.where and one.where.node == node.node_id]
    assert len(lost) == 2
    with searching(front, query, expected) as answers:
        cluster.remove_node(node, allow_graceful=False)
        for one in lost:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.where.pid, signal.SIGKILL)  # type: ignore[union-attr]
        before = len(answers)
        wait_until(lambda: len(answers) > before + 5)
        cluster.add_node(num_cpus=4)
        wait_until(lambda: all_there(location))
    assert set(map(str, answers)) == {"True"}
    assert front.enroll(enrolments(2, seed=91)).added == 2
    places = [one.where.node for one in replicas(location) if one.where]
    assert node.node_id not in places


def test_a_driver_killed_in_the_midst_of_an_enrolment(
    cluster: Any, front: ShardedGallery, location: GalleryLocation, make_features: Make
) -> None:
    """What it acknowledged is there; run again, nothing is there twice and nothing is missing."""
    before = len(front)
    words = [sys.executable, str(WORKER), cluster.address, location.secret, "12", "23"]
    worker = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    said = [worker.stdout.readline() for _ in range(4)]
    worker.kill()
    worker.communicate()
    assert said == [f"{i} 1\n" for i in range(4)]
    there = len(front) - before
    assert 4 <= there <= 5
    again = subprocess.run(words, capture_output=True, text=True, check=True, timeout=PATIENCE)
    added = [int(line.split()[1]) for line in again.stdout.splitlines()]
    assert added == [0] * there + [1] * (12 - there)
    assert len(front) == before + 12
    front.check()
    query = make_features(2, 8)
    with Gallery.open(location.secret, readonly=True) as single:
        assert [one.faces for one in identify(query, front)] == [
            one.faces for one in identify(query, single)
        ]


def test_the_service_searches_by_shards(
    cluster: Any, location: GalleryLocation, make_features: Make
) -> None:
    pytest.importorskip("fastapi")
    from faceflow.server.engine import Engine
    from faceflow.server.settings import Limits, ServerSettings

    settings = ServerSettings(galleries=Path(location.secret), cluster=cluster.address)
    engine = Engine(settings, lambda: Limits())
    query = make_features(2, 9)
    try:
        (name,) = engine.names()
        opened = engine.gallery(name)
        assert isinstance(opened, ShardedGallery)
        assert engine.gallery(name) is opened
        with Gallery.open(location.secret, readonly=True) as single:
            assert [one.faces for one in identify(query, opened)] == [
                one.faces for one in identify(query, single)
            ]
    finally:
        engine.close()


def test_nobody_joins_without_the_token(cluster: Any) -> None:
    code = (
        "import sys\nfrom faceflow.cluster.joining import joined\n"
        "from faceflow.errors import FaceflowError\n"
        "try:\n  with joined(sys.argv[1]): print('in')\n"
        "except FaceflowError as error: print(error.what)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, cluster.address],
        env=os.environ | {"RAY_AUTH_TOKEN": secrets.token_hex(32)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() == f"The Ray cluster at {cluster.address} cannot be joined"


def test_everything_listens_on_this_machine_alone(cluster: Any) -> None:
    """As `faceflow cluster start` sets it for a cluster of its own."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("no /proc here")
    import ray

    port = int(ray.get_runtime_context().gcs_address.rpartition(":")[2])
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            place, state = line.split()[1], line.split()[3]
            address, _, number = place.rpartition(":")
            if state == "0A" and int(number, 16) == port:
                listening.append(address)
    assert listening
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert set(listening) <= loopback


def test_draining_ends_everything_and_nothing_is_found_any_more(
    front: ShardedGallery, location: GalleryLocation, make_features: Make
) -> None:
    with pytest.raises(GalleryError, match="2 shards with 2 replicas"):
        deployment.start(location, Layout(3, 1))
    assert deployment.drain(front._store) == 4
    with pytest.raises(GalleryError, match="not on this cluster"):
        deployment.find(front._store)
    with pytest.raises(IncompleteGalleryError):
        identify(make_features(1, 1), front)
    assert deployment.drain(front._store) == 0
    standing = deployment.start(location, Layout(3, 1, hold="patches"))
    assert len(standing) == 3
    assert deployment.drain(front._store) == 3
