"""How large a cluster has to be: arithmetic over measured costs, and nothing else.

Every number that was measured stands in :data:`MEASURED`, with what it was measured on; the rest
follows by multiplication. docs/capacity.md shows the same arithmetic, and a test holds the two
together.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from faceflow.cluster.part import Hold
from faceflow.errors import InputError

MILLION = 1_000_000
_MOST = 100_000
GB = 1e9


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, by benchmarks/cluster/scaling.py, of the default network and options.

    Attributes:
        scan_ms: CPU ms of stage 1 for a million faces, one query.
        shard_ms: CPU ms that stage 2 costs a shard however few candidates it has.
        candidate_ms: CPU ms of stage 2 for each candidate.
        front_ms: CPU ms of a query in front of the shards, and
        front_shard_ms: more for each shard.
        ray_ms: wall ms of two rounds of calls to actors.
        embedding_bytes: of a face in a shard's memory: embedding, its int8 code, ids.
        name_bytes: of a person's name in a shard's memory.
        patch_bytes: of a face's patches, and
        vector_bytes: of its embedding, as they come out of the database.
        process_bytes: of a shard's process before it holds a face.
        disk_bytes: of a face in the database, without thumbnails.
        loading_faces: a second and CPU, from the database into a shard.
        stage1_bytes, stage1_answer_bytes: to and from each shard.
        stage2_bytes, stage2_answer_bytes: to and from each shard that has candidates.
        candidate_answer_bytes: more, for each candidate.
        k: candidates.
    """

    scan_ms: float = 16.0
    shard_ms: float = 1.7
    candidate_ms: float = 0.05
    front_ms: float = 3.5
    front_shard_ms: float = 5.6
    ray_ms: float = 66.0
    embedding_bytes: float = 1304.0
    name_bytes: float = 160.0
    patch_bytes: float = 8960.0
    vector_bytes: float = 1024.0
    process_bytes: float = 0.25 * GB
    disk_bytes: float = 11_520.0
    loading_faces: float = 51_000.0
    stage1_bytes: float = 1_350.0
    stage1_answer_bytes: float = 2_000.0
    stage2_bytes: float = 36_000.0
    stage2_answer_bytes: float = 700.0
    candidate_answer_bytes: float = 60.0
    k: int = 100


MEASURED = Costs()


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the cluster.

    Attributes:
        memory: bytes.
        cores: physical ones.
        network: bytes a second.
    """

    memory: float = 64 * GB
    cores: int = 16
    network: float = 1.25 * GB


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of the cluster.

    Attributes:
        faces: enrolled.
        qps: searches a second.
        replicas: copies of each shard.
        faces_per_person: on average.
        hold: what shards keep in memory.
        share: of cores and memory that are used at most, so that a lost machine's work finds room.
    """

    faces: float
    qps: float
    replicas: int = 2
    faces_per_person: float = 2.0
    hold: Hold = "embeddings"
    share: float = 0.6

    def __post_init__(self) -> None:
        for name, value in (
            ("faces", self.faces),
            ("searches a second", self.qps),
            ("replicas", self.replicas),
            ("faces of a person", self.faces_per_person),
        ):
            if not 0 < value < 1e15:
                raise InputError(f"{value} {name} cannot be planned for")
        if not 0 < self.share <= 1:
            raise InputError(f"a share of {self.share} cannot be used", why="0 to 1 are possible")


@dataclass(frozen=True, slots=True)
class Plan:
    """A cluster that does what is asked.

    Attributes:
        shards: parts, and
        machines: that hold them, each part ``replicas`` times.
        because: what decided their number: memory, CPU or replicas.
        copy_bytes: memory of one copy of all shards.
        memory_per_machine: bytes used on each.
        stage1_cpu_ms, stage2_cpu_ms, front_cpu_ms: CPU of one query on all machines.
        asked_in_stage2: shards that have candidates, on average.
        cores: that are busy at that many searches a second.
        latency_ms: of a query on an idle cluster: about.
        query_bytes: that one query moves, both ways.
        network: bytes a second between the front and all shards.
        disk_bytes: of the database.
        database_bytes: a second, read from it for patches.
        loading_seconds: for all machines to load after a start, if the database keeps up.
        database_loading: bytes a second that this takes from the database.
    """

    shards: int
    machines: int
    because: str
    copy_bytes: float
    memory_per_machine: float
    stage1_cpu_ms: float
    stage2_cpu_ms: float
    front_cpu_ms: float
    asked_in_stage2: float
    cores: float
    latency_ms: float
    query_bytes: float
    network: float
    disk_bytes: float
    database_bytes: float
    loading_seconds: float
    database_loading: float

    @property
    def cpu_ms(self) -> float:
        """Of one query, on all machines."""
        return self.stage1_cpu_ms + self.stage2_cpu_ms + self.front_cpu_ms


def plan(demand: Demand, machine: Machine | None = None, costs: Costs = MEASURED) -> Plan:
    """The smallest cluster of such machines that does what is asked.

    Memory decides how many machines hold one copy; CPU how many answer so many searches. With
    more machines than copies need there are more shards, not more replicas: each then scans less.

    Raises:
        InputError: such machines cannot do it, however many.
    """
    machine = machine or Machine()
    room = machine.memory * demand.share - costs.process_bytes
    copy = demand.faces * _face_bytes(demand, costs)
    if room <= 0:
        raise InputError("a machine has no room for a shard's process")
    by_memory = math.ceil(copy / room)
    shards = by_memory
    # More shards cost more CPU in all: until the machines that they live on suffice.
    while True:
        busy = _cpu_ms(demand, costs, shards) * demand.qps / 1000
        by_cpu = math.ceil(busy / (machine.cores * demand.share))
        needed = math.ceil(max(by_memory * demand.replicas, by_cpu) / demand.replicas)
        if needed <= shards:
            break
        shards = needed
        if shards > _MOST:
            raise InputError(
                f"{demand.qps:g} searches a second are too many for such machines",
                why="each more shard costs more than it brings",
                todo="make several clusters that each hold everything",
            )
    machines = shards * demand.replicas
    because = "replicas" if shards == 1 else "memory" if shards == by_memory else "CPU"
    asked = _asked(costs.k, shards)
    stage1, stage2, front = _parts_ms(demand, costs, shards)
    query_bytes = (
        shards * (costs.stage1_bytes + costs.stage1_answer_bytes)
        + asked * (costs.stage2_bytes + costs.stage2_answer_bytes)
        + costs.k * costs.candidate_answer_bytes
    )
    per_machine = demand.faces / shards
    in_parallel = (stage1 + stage2) / (shards * machine.cores) + costs.shard_ms
    held = demand.hold == "patches"
    patches = 0.0 if held else demand.qps * costs.k * costs.patch_bytes
    read = per_machine * (costs.vector_bytes + (costs.patch_bytes if held else 0.0))
    seconds = per_machine / costs.loading_faces
    return Plan(
        shards=shards,
        machines=machines,
        because=because,
        copy_bytes=copy + shards * costs.process_bytes,
        memory_per_machine=copy / shards + costs.process_bytes,
        stage1_cpu_ms=stage1,
        stage2_cpu_ms=stage2,
        front_cpu_ms=front,
        asked_in_stage2=asked,
        cores=(stage1 + stage2 + front) * demand.qps / 1000,
        latency_ms=in_parallel + front + costs.ray_ms,
        query_bytes=query_bytes,
        network=query_bytes * demand.qps,
        disk_bytes=demand.faces * costs.disk_bytes,
        database_bytes=patches,
        loading_seconds=seconds,
        database_loading=machines * read / max(seconds, 1e-9),
    )


def _face_bytes(demand: Demand, costs: Costs) -> float:
    held = costs.patch_bytes if demand.hold == "patches" else 0.0
    return costs.embedding_bytes + costs.name_bytes / demand.faces_per_person + held


def _parts_ms(demand: Demand, costs: Costs, shards: int) -> tuple[float, float, float]:
    """CPU ms of one query: stage 1, stage 2, the front."""
    return (
        demand.faces / MILLION * costs.scan_ms,
        _asked(costs.k, shards) * costs.shard_ms + costs.k * costs.candidate_ms,
        costs.front_ms + shards * costs.front_shard_ms,
    )


def _cpu_ms(demand: Demand, costs: Costs, shards: int) -> float:
    return sum(_parts_ms(demand, costs, shards))


def _asked(k: int, shards: int) -> float:
    """Shards that have at least one of k candidates, where each is anywhere as likely."""
    return shards * (1 - (1 - 1 / shards) ** k)


def parse_count(text: str) -> float:
    """ "100M" -> 100,000,000; k, M, G and B (the same) are known.

    Raises:
        InputError: anything else.
    """
    found = re.fullmatch(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kKmMgGbB]?)\s*", text)
    if not found:
        raise InputError(f"{text!r} is no number", todo="write e.g. 250000, 100M or 1.5B")
    number = float(found[1].replace("_", "").replace(",", ""))
    return number * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}[found[2].lower()]
