"""Products of patches whose sums are exact, so that no library's order of summation can matter.

A batched product sums in another order for another number of pairs, on the CPU even for another
place in the batch. Here each float32 value is cut in two, ``x = high + low``: high a multiple of
2^-25, low of 2^-47 and at most 2^-26. For unit rows, by Cauchy and Schwarz, the terms of
``high . high`` add up to hardly more than 1 in size, so every sum of them is a multiple of 2^-50
that float64 holds exactly; those of ``high . low`` (2 C terms, C up to 2,048) stay below 2^-19 in
multiples of 2^-72, 53 bits as well. What is left out, ``low . low``, is below 2^-40 and mostly
below 1e-14. (After Ozaki et al. 2012, "Error-free transformations of matrix multiplication".)
"""

from __future__ import annotations

from typing import Any

from faceflow.matching.transport.device.faces import Tensor, moved, wide
from faceflow.matching.transport.device.pairs import Pairs

_HIGH, _LOW = 2.0**25, 2.0**47
_BLOCK_PAIRS = 512


def products(torch: Any, pairs: Pairs) -> Tensor:
    """(P, R, S) cosine of every query patch with every gallery patch of P pairs.

    float64; where the device has none, float32 and one pair at a time, always by the same call.
    """
    device = pairs.faces.device
    kind = wide(torch, device)
    exact = kind == torch.float64
    step = _BLOCK_PAIRS if exact else 1
    sizes = len(pairs), pairs.query.shape[1], pairs.faces.codes.shape[1]
    cosine = torch.empty(sizes, dtype=kind, device=device)
    queries, faces = (moved(torch, one, device) for one in (pairs.query_rows, pairs.face_rows))
    for start in range(0, len(pairs), step):
        part = slice(start, start + step)
        query = pairs.query[queries[part]].to(kind)
        face = pairs.faces.decoded(faces[part]).to(kind).transpose(1, 2)
        cosine[part] = _exact(torch, query, face) if exact else torch.bmm(query, face)
    return cosine


def _exact(torch: Any, query: Tensor, face: Tensor) -> Tensor:
    """(P, R, C) and (P, C, S) to (P, R, S)."""
    (high_q, low_q), (high_g, low_g) = _cut(query), _cut(face)
    small = torch.bmm(torch.cat([high_q, low_q], dim=2), torch.cat([low_g, high_g], dim=1))
    return torch.bmm(high_q, high_g) + small


def _cut(values: Tensor) -> tuple[Tensor, Tensor]:
    high = (values * _HIGH).round() / _HIGH
    return high, ((values - high) * _LOW).round() / _LOW
