"""The shards of a gallery on a Ray cluster: start them, find them again, drain them.

Ray keeps them as detached actors, by name, and starts them again when they die. The names say what
there should be, so that nothing else has to be remembered: ``people-3f2a9c01d4e6/2 of 4/1 of 2`` is
the first replica of two of the second shard of four.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faceflow.cluster.actors import NoReplica, RayReplica, ShardActor, Whereabouts
from faceflow.cluster.joining import NAMESPACE, ray_module
from faceflow.cluster.part import Hold, Standing
from faceflow.cluster.replicas import PATIENCE, Replica, Shards
from faceflow.cluster.sharded import ShardedGallery
from faceflow.errors import FaceflowError, GalleryError, InputError
from faceflow.gallery.stores.location import is_url
from faceflow.gallery.stores.opening import GalleryLocation, open_store
from faceflow.gallery.stores.store import Store

MOST = 4096
"""Shards, and replicas, that a deployment can have."""
_NAME = re.compile(r"(?P<key>.+)/(?P<shard>\d+) of (?P<shards>\d+)/(?P<r>\d+) of (?P<rs>\d+)")
_CONCURRENCY = 16
"""Searches that a replica works on side by side."""
_PLACING_SECONDS = 30.0
_STATUS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Layout:
    """What a deployment consists of.

    Attributes:
        shards: parts of the gallery.
        replicas: of each; two survive the loss of any one process or machine.
        hold: what a shard keeps in memory.
        cpus: of each replica, for Ray to place them by; may be a fraction.
    """

    shards: int = 1
    replicas: int = 1
    hold: Hold = "embeddings"
    cpus: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= MOST or not 1 <= self.replicas <= MOST:
            raise InputError(
                f"there cannot be {self.shards} shards with {self.replicas} replicas",
                why=f"1 to {MOST} of each are possible",
            )
        if not 0 < self.cpus <= MOST:
            raise InputError(f"a replica cannot have {self.cpus} CPUs")


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """How one replica stands; ``standing`` and ``where`` are None where it does not answer."""

    name: str
    shard: int
    replica: int
    standing: Standing | None
    where: Whereabouts | None


def start(
    location: GalleryLocation,
    layout: Layout,
    *,
    seconds: float = 3600.0,
    told: Callable[[str], None] = lambda line: None,
) -> list[Standing]:
    """Start the shards of a gallery and wait until they have loaded it.

    A start that was interrupted goes on where it was.

    Args:
        location: the gallery; every machine of the cluster must reach it by this very text.
        layout: what to start.
        seconds: how long to wait.
        told: what goes on, in a line each.

    Returns:
        How every replica stands.

    Raises:
        GalleryError: there is no gallery, a shard cannot read it, or another layout runs.
        FaceflowError: the cluster has no room, or asks for no token.
    """
    ray = ray_module()
    if location.is_file:
        location = GalleryLocation(Path(location.secret).resolve())
    store = open_store(location, readonly=True)
    store.close()
    key = key_of(store)
    for name in _names(key):
        there = _parsed(name)
        if there[2:] != (layout.shards, layout.replicas):
            raise GalleryError(
                f"{store.name} is on the cluster already, in {there[2]} shards with {there[3]} "
                "replicas",
                todo="drain it first (`faceflow cluster drain`), or start the same again",
            )
    try:
        actors = _start_actors(ray, key, location, layout)
        told(f"{len(actors)} processes started; they load the gallery")
        return _loaded(ray, actors, seconds)
    except ray.exceptions.RayError as error:
        raise FaceflowError(
            "Ray cannot start the shards",
            why=str(error).strip().partition("\n")[0],
            todo="see `ray status` and the logs in /tmp/ray/session_latest/logs",
        ) from error


def _start_actors(ray: Any, key: str, location: GalleryLocation, layout: Layout) -> dict[str, Any]:
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    groups = []
    for shard in range(layout.shards):
        name = f"{key}/{shard + 1} of {layout.shards}"
        try:
            group = ray.util.get_placement_group(name)
        except ValueError:
            # The replicas of a shard on as many machines as there are.
            bundles = [{"CPU": layout.cpus}] * layout.replicas
            group = ray.util.placement_group(
                bundles, strategy="SPREAD", name=name, lifetime="detached"
            )
        groups.append(group)
    deadline = time.monotonic() + _PLACING_SECONDS
    for group in groups:
        if not group.wait(max(0.1, deadline - time.monotonic())):
            for one in groups:
                ray.util.remove_placement_group(one)
            raise FaceflowError(
                "The cluster has no room for the shards",
                why=f"they need {layout.shards * layout.replicas} x {layout.cpus:g} CPUs, and it "
                f"has {ray.available_resources().get('CPU', 0):g} free",
                todo="add machines, or give each replica less (--cpus)",
            )
    actor = ray.remote(ShardActor)
    found = {}
    for shard, group in enumerate(groups):
        for replica in range(layout.replicas):
            name = _name(key, shard, replica, layout.shards, layout.replicas)
            found[name] = actor.options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=layout.cpus,
                max_restarts=-1,
                # What fails is asked of another replica; Ray repeats nothing.
                max_task_retries=0,
                max_concurrency=_CONCURRENCY,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    group, placement_group_bundle_index=replica
                ),
            ).remote(location.secret, shard, layout.shards, layout.hold)
    return found


def _loaded(ray: Any, actors: dict[str, Any], seconds: float) -> list[Standing]:
    where: Sequence[Whereabouts] = ray.get(
        [one.whereabouts.remote() for one in actors.values()], timeout=seconds
    )
    naked = sorted({one.host for one in where if not one.authenticated})
    if naked:
        for actor in actors.values():
            ray.kill(actor, no_restart=True)
        raise FaceflowError(
            f"Ray asks nobody for a token at {', '.join(naked)}",
            why="whoever reaches it runs any code there",
            todo="stop it, set RAY_AUTH_MODE=token on every machine, and start it again",
        )
    replies = ray.get(
        [one.ask.remote("catch_up", (), {}) for one in actors.values()], timeout=seconds
    )
    for reply in replies:
        if reply.error is not None:
            for actor in actors.values():
                ray.kill(actor, no_restart=True)
            raise reply.error
    return [reply.value for reply in replies]


def find(store: Store, *, patience: float = PATIENCE) -> Shards:
    """The shards of a gallery.

    Raises:
        GalleryError: the cluster has none of this gallery.
    """
    ray = ray_module()
    key = key_of(store)
    names = _names(key)
    if not names:
        others = sorted({name.partition("/")[0] for name in _names(None)})
        there = f"it has {', '.join(others)}" if others else "it has no gallery at all"
        raise GalleryError(
            f"{store.location} is not on this cluster",
            why=there,
            todo="start it with `faceflow cluster start`, and name the gallery here as there",
        )
    _, _, shards, replicas = _parsed(names[0])
    groups: list[list[Replica]] = []
    for shard in range(shards):
        group: list[Replica] = []
        for replica in range(replicas):
            name = _name(key, shard, replica, shards, replicas)
            shown = f"shard {shard}, replica {replica}"
            try:
                group.append(RayReplica(shown, ray.get_actor(name, namespace=NAMESPACE)))
            except ValueError:
                group.append(NoReplica(shown))
        groups.append(group)
    return Shards(groups, patience=patience)


def open_sharded(
    location: GalleryLocation,
    *,
    readonly: bool = True,
    allow_partial: bool = False,
    allow_stale: bool = False,
) -> ShardedGallery:
    """The gallery at a location in front of its shards on the cluster that was joined.

    Raises:
        GalleryError: there is no such gallery, or not on this cluster.
    """
    store = open_store(location, readonly=readonly)
    try:
        return ShardedGallery(
            store, find(store), allow_partial=allow_partial, allow_stale=allow_stale
        )
    except BaseException:
        store.close()
        raise


def status(store: Store) -> list[ReplicaStatus]:
    """How every replica of a gallery stands; those that do not answer in some seconds are gone.

    Raises:
        GalleryError: the cluster has none of this gallery.
    """
    ray = ray_module()
    asked: list[tuple[str, int, int, Any, Any]] = []
    for shard, group in enumerate(find(store).groups):
        for number, replica in enumerate(group):
            where, reply = None, None
            if isinstance(replica, RayReplica):
                where = replica.actor.whereabouts.remote()
                reply = replica.ask("standing", (), {})
            asked.append((replica.name, shard, number, where, reply))
    deadline = time.monotonic() + _STATUS_SECONDS
    found = []
    for name, shard, number, where, reply in asked:
        left = max(0.1, deadline - time.monotonic())
        try:
            at: Whereabouts | None = None if where is None else ray.get(where, timeout=left)
            standing = None if reply is None else reply.result(timeout=left).value
        except (ray.exceptions.RayError, TimeoutError):
            at, standing = None, None
        found.append(ReplicaStatus(name, shard, number, standing, at))
    return found


def drain(store: Store, *, seconds: float = 30.0) -> int:
    """Let the shards of a gallery finish what they do, and end them; how many there were.

    The gallery itself stays as it is.
    """
    ray = ray_module()
    key = key_of(store)
    actors = [ray.get_actor(name, namespace=NAMESPACE) for name in _names(key)]
    finishing = [actor.drain.remote(seconds) for actor in actors]
    if finishing:
        ray.wait(finishing, num_returns=len(finishing), timeout=seconds + _STATUS_SECONDS)
    for actor in actors:
        ray.kill(actor, no_restart=True)
    for group in ray.util.placement_group_table().values():
        if group["name"].startswith(f"{key}/") and group["state"] != "REMOVED":
            ray.util.remove_placement_group(ray.util.get_placement_group(group["name"]))
    return len(actors)


def is_there(store: Store) -> bool:
    """Whether the cluster has shards of a gallery."""
    return bool(_names(key_of(store)))


def key_of(store: Store) -> str:
    """What the names of a gallery's actors begin with: its name, and what tells it from others.

    The user part of a server's URL does not count, so that readers and writers find the same.
    """
    place = re.sub("//[^/@]*@", "//", store.location)
    if not is_url(place):
        place = str(Path(place).resolve())
    made = json.dumps([store.header.as_json(), place], sort_keys=True)
    name = place.rpartition("=")[2] if is_url(store.location) else Path(place).stem
    readable = re.sub("[^A-Za-z0-9_-]", "_", name)[:40]
    return f"{readable}-{hashlib.sha256(made.encode()).hexdigest()[:12]}"


def _name(key: str, shard: int, replica: int, shards: int, replicas: int) -> str:
    return f"{key}/{shard + 1} of {shards}/{replica + 1} of {replicas}"


def _names(key: str | None) -> list[str]:
    """Of all our actors, or of those of one gallery."""
    ray = ray_module()
    found = []
    for one in ray.util.list_named_actors(all_namespaces=True):
        match = _NAME.fullmatch(one["name"])
        if one["namespace"] == NAMESPACE and match and key in (None, match["key"]):
            found.append(one["name"])
    return sorted(found)


def _parsed(name: str) -> tuple[int, int, int, int]:
    """Shard, replica, shards, replicas."""
    match = _NAME.fullmatch(name)
    assert match is not None
    shard, shards, replica, replicas = (int(match[one]) for one in ("shard", "shards", "r", "rs"))
    return shard - 1, replica - 1, shards, replicas
