"""Whether the device says what the NumPy oracle says, by the format of the gallery's patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from sizes import Here, Sizes, made_up

from faceflow.matching.transport import Plan, Sinkhorn, encode, rounded
from faceflow.matching.transport.device.faces import DeviceFaces
from faceflow.matching.transport.device.solve import solve
from faceflow.matching.weighting import weigh

_QUERIES = 4


def agreement(here: Here, sizes: Sizes) -> None:
    queries, gallery = made_up(_QUERIES, sizes, seed=1), made_up(sizes.alike, sizes, seed=2)
    weights = [weigh("apc", query, gallery) for query in queries]
    u, v = (np.stack(side) for side in zip(*weights, strict=True))
    exact = Sinkhorn(backend="numpy", dtype="f32")
    expected = [
        exact(query.patches[0], gallery.patches, *weight)
        for query, weight in zip(queries, weights, strict=True)
    ]
    whole = here.tensor(gallery.patches)
    formats = {
        "f32": DeviceFaces(whole),
        "fp16": DeviceFaces(whole.half()),
        "bf16": DeviceFaces(whole.bfloat16()),
        "int8": DeviceFaces.of(encode(gallery.patches, "int8"), here.device),
    }
    print(
        f"{'':22}{'similarity':>12}{'iterations':>12}{'same first':>12}   (against NumPy, float64)"
    )
    rows = np.broadcast_to(np.arange(sizes.alike), (_QUERIES, sizes.alike))
    for name, faces in formats.items():
        for kernel in (False, True):
            label = f"{name}, {'fused kernel' if kernel else 'PyTorch'}"
            if kernel and here.fused is not None:
                print(f"{label:22}left out: {here.fused}")
                continue
            query = rounded(queries.patches, "int8" if name == "int8" else "f32")
            found = solve(query, faces, u=u, v=v, candidates=rows, kernel=kernel)
            print(f"{label:22}{_difference(found, expected)}")


def _difference(found: Plan, expected: list[Plan]) -> str:
    similarity = np.stack([plan.similarity for plan in expected])
    iterations: Any = np.stack([plan.iterations for plan in expected])
    off = np.abs(found.similarity - similarity).max()
    steps = np.abs(found.iterations - iterations).max()
    first = (found.similarity.argmax(axis=1) == similarity.argmax(axis=1)).sum()
    return f"{off:12.1e}{steps:12d}{first:8d} of {len(similarity)}"
