"""The kernel's answers, pinned to the bit: a change of its code must not change its numbers.

The inputs are small fractions, so that no library's rounding lies before the kernel's, and the
problems stay on the float32 path, which calls no mathematical library either. What is left is
arithmetic that IEEE 754 prescribes, in an order the kernel prescribes: one hash per format holds
for every level with fused multiply-add, on any machine and with any compiler, one more for the
portable level on x86-64, where it has no fused multiply-add.
"""

from __future__ import annotations

import hashlib
import platform

import numpy as np
import pytest

from faceflow.matching.transport import encode, native
from faceflow.matching.transport.codes import DTYPES, DType

pytestmark = pytest.mark.skipif(not native.available(), reason="the kernel is not built")

LEVELS = native.info().available if native.available() else ()
SIZES = [*((r, 1 + 7 * r % 64, 1 + 11 * r % 70) for r in range(1, 65)), (256, 17, 66), (9, 256, 33)]
GOLDEN = {
    ("fused", "f32"): "e049c11f9d941faf0d7f50a7e46d11c8",
    ("fused", "bf16"): "576894bc663546a9416e18d5e0f34f73",
    ("fused", "int8"): "3cc1fa9fad63ffff938c23dfc61406d9",
    ("portable", "f32"): "3ee361c03ba8fef2b8a9e0e3861c8890",
    ("portable", "bf16"): "5224e9d0d7826a5c1bd2b7585f230385",
    ("portable", "int8"): "3c6c162b79a0cdd5c5063bff34c09c88",
}
OWN_BF16 = ("avx512bf16", "amx")
"""Levels whose bf16 product is the processor's own, with its own rounding."""


def digest(level: str, dtype: DType) -> str:
    """All outputs, flows included, over sizes and weightings."""
    # The one stream of numbers that NumPy promises never to change.
    draw = np.random.RandomState(7)
    found = hashlib.sha256()

    def fractions(*shape: int) -> np.ndarray:
        return (draw.randint(-1000, 1001, size=shape) / 8192).astype(np.float32)

    for number, (r, s, c) in enumerate(SIZES):
        query, gallery = fractions(2, r, c), fractions(3, s, c)
        pooled_query, pooled_gallery = fractions(2, c), fractions(3, c)
        u = draw.randint(0, 9, size=(2, 3, r)).astype(np.float32)
        v = draw.randint(0, 9, size=(2, 3, s)).astype(np.float32)
        codes = encode(gallery, dtype)
        for weighting in ("given", *native.WEIGHTINGS):
            plan = native.solve(
                query,
                codes,
                u=u,
                v=v,
                weighting=weighting,
                pooled_query=pooled_query,
                pooled_gallery=pooled_gallery,
                max_iterations=20,
                tolerance=(1e-3, 1e-5)[number % 2],
                epsilon=(0.05, 0.25)[number % 3 == 0],
                flow=True,
                isa=level,
            )
            assert plan.flow is not None
            for values in (plan.similarity, plan.iterations, plan.status, plan.flow):
                found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:32]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", LEVELS)
def test_no_bit_has_changed(level: str, dtype: DType) -> None:
    if dtype == "bf16" and level in OWN_BF16:
        pytest.skip("the product is the processor's own")
    if level == "portable" and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("whether this level fuses is the processor's choice")
    kind = "portable" if level == "portable" else "fused"
    assert digest(level, dtype) == GOLDEN[kind, dtype]
