"""Every face of an LFW-sized set against every other, and the published code in turns.

Timed: stage 1 (a float32 product and its best k) and stage 2 (APC weights, transport, similarity)
of all queries, features on the device already. Not timed: making the features up and moving them.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import published
from sizes import Here, Sizes, made_up, shown

from faceflow.arrays import unit
from faceflow.features import FaceFeatures
from faceflow.matching.transport import encode, rounded
from faceflow.matching.transport.device import fused
from faceflow.matching.transport.device.faces import DeviceFaces
from faceflow.matching.transport.device.pairs import Settings
from faceflow.matching.transport.device.solve import solve
from faceflow.matching.weighting import weigh

REFERENCES = (
    "estimated for a fused kernel on an H100 0.12 s, its roofline 0.035 s; the paper 60 s; "
)
REFERENCES += "faceflow on two CPU cores 8.5 s"


class Headline:
    """The gallery and one block of queries on the device."""

    def __init__(self, here: Here, sizes: Sizes) -> None:
        self.here, self.sizes = here, sizes
        drawn = _rounded(made_up(sizes.distinct, sizes))
        at = np.arange(sizes.faces) % sizes.distinct
        codes = here.tensor(encode(drawn.patches, "int8"))[here.tensor(at)]
        scales = DeviceFaces.of(encode(drawn.patches, "int8"), here.device).scales
        self.int8 = DeviceFaces(codes, scales[here.tensor(at)])
        self.pooled = here.tensor(drawn.pooled)[here.tensor(at)]
        self.gallery = drawn
        rng = np.random.default_rng(1)
        embedding = unit(rng.standard_normal((sizes.faces, sizes.embedding), np.float32))
        self.embedding = here.tensor(embedding)
        near = np.arange(sizes.queries) % sizes.faces
        noise = 0.03 * rng.standard_normal((sizes.queries, sizes.embedding), np.float32)
        self.asked = here.tensor(unit(embedding[near] + noise))
        self.queries = _rounded(made_up(sizes.block, sizes, seed=2))
        self.query = here.tensor(self.queries.patches)
        self.centre = here.tensor(self.queries.pooled)

    def first(self, start: int) -> object:
        """Stage 1 of a block: (B, k) rows."""
        block = self.asked[start : start + self.sizes.block]
        return (block @ self.embedding.T).topk(self.sizes.k, dim=1).indices

    def second(self, rows: object) -> object:
        """Stage 2 of a block by the fused kernel."""
        torch, count = self.here.torch, len(rows)
        whose = torch.arange(count, device=rows.device).repeat_interleave(self.sizes.k)
        return fused.launch(
            torch,
            self.query[:count],
            self.int8,
            whose,
            rows.flatten(),
            fused.Centres(self.centre, self.pooled),
            Settings(),
        )

    def by_pytorch(self, rows: object) -> object:
        """Stage 2 of a block by the PyTorch backend, weights by NumPy: what a caller gets."""
        at = rows.cpu().numpy()
        weights = [
            weigh("apc", query, self.gallery[some % self.sizes.distinct])
            for query, some in zip(self.queries[: len(at)], at, strict=True)
        ]
        u, v = (np.stack(side) for side in zip(*weights, strict=True))
        return solve(self.queries.patches[: len(at)], self.int8, u=u, v=v, candidates=at)


def _rounded(faces: FaceFeatures) -> FaceFeatures:
    """Faces as int8 holds their patches, so that both ways see the same numbers."""
    return replace(faces, patches=rounded(faces.patches, "int8"))


def headline(here: Here, sizes: Sizes) -> None:
    work = Headline(here, sizes)
    print(
        f"{sizes.queries} queries x {sizes.k} of {sizes.faces} faces, {sizes.side}x{sizes.side}x"
        f"{sizes.channels}, int8: {work.int8.codes.numel() / 1e6:.0f} MB of patches"
    )
    if here.fused is None:
        _whole(work)
    else:
        print(f"fused kernel: left out: {here.fused}")
    rows = work.first(0)
    count = len(rows)
    taken = here.seconds(lambda: work.by_pytorch(rows), 1 if count > 8 else sizes.rounds)
    print(f"PyTorch backend, {count} queries with weights by NumPy: {shown(taken, 's')}")
    if here.fused is None:
        mine, theirs = work.second(rows), work.by_pytorch(rows)
        off = np.abs(mine.similarity.cpu().numpy() - theirs.similarity.reshape(-1)).max()
        print(f"  the kernel's similarities lie within {off:.1e} of these")
    print(REFERENCES)
    _in_turns(work)


def _whole(work: Headline) -> None:
    here, sizes = work.here, work.sizes
    starts = range(0, sizes.queries, sizes.block)
    work.second(work.first(0))  # compiles
    for name, full in (("stage 2", False), ("both stages", True)):
        found = [] if full else [work.first(start) for start in starts]
        taken = []
        for _ in range(sizes.rounds):
            here.wait()
            start = time.perf_counter()
            for number, at in enumerate(starts):
                work.second(work.first(at) if full else found[number])
            here.wait()
            taken.append(time.perf_counter() - start)
        low, middle, high = np.percentile(taken, [25, 50, 75])
        print(f"fused kernel, {name}: {shown((low, middle, high), 's')}")
    wrote = work.second(work.first(0))
    print(f"  {wrote.iterations.float().mean().item():.1f} iterations a pair")


def _in_turns(work: Headline) -> None:
    """Ours and the published code, alternating, on the same queries and candidates."""
    here, sizes = work.here, work.sizes
    torch = here.torch
    count = min(sizes.peer_queries, sizes.block, sizes.queries)
    rows = work.first(0)[:count]
    at = torch.arange(len(work.int8), device=rows.device)
    faces = work.int8.decoded(at[: sizes.distinct])

    def peer() -> None:
        for query, centre, some in zip(work.query, work.centre, rows, strict=False):
            chosen = some % sizes.distinct
            published.score(torch, query, centre, faces[chosen], work.pooled[some])

    ours = work.second if here.fused is None else work.by_pytorch
    ratios, times = [], []
    for _ in range(sizes.rounds):
        _, theirs, _ = here.seconds(peer, 1)
        _, mine, _ = here.seconds(lambda: ours(rows), 1)
        ratios.append(theirs / mine)
        times.append((theirs, mine))
    theirs, mine = np.median(times, axis=0)
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    print(
        f"published computation in PyTorch, {count} queries x {sizes.k}, float32: {theirs:.4g} s; "
        f"ours ({'fused kernel' if here.fused is None else 'PyTorch backend'}): {mine:.4g} s; "
        f"ratio {middle:.3g} ({low:.3g}-{high:.3g})"
    )
