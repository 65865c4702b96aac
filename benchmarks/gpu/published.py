"""The published computation in PyTorch, restated from its description: a peer on the same device.

One query against its candidates at a time: APC weights, at most 100 iterations in float32 for all
candidates together, stopped by their mean change; see faceflow.matching.transport.reference.
"""

from __future__ import annotations

from typing import Any


def score(torch: Any, query: Any, centre: Any, faces: Any, centres: Any) -> Any:
    """(N,) similarity.

    Args:
        torch: the module.
        query: (R, C) unit rows.
        centre: (C,) their mean, unit.
        faces: (N, S, C).
        centres: (N, C).
    """
    rows = torch.relu(torch.einsum("nsc,c->ns", faces, centre))
    columns = torch.relu(torch.einsum("rc,nc->nr", query, centres))
    rows, columns = (one / one.sum(dim=1, keepdim=True) for one in (rows, columns))
    cosine = torch.einsum("nsc,rc->nsr", faces, query)
    kernel = torch.exp(-(1 - cosine) / 0.05)
    r, c = torch.ones_like(rows), torch.ones_like(columns)
    for _ in range(100):
        before = r
        r = rows / torch.matmul(kernel, c.unsqueeze(-1)).squeeze(-1)
        c = columns / torch.matmul(kernel.transpose(1, 2), r.unsqueeze(-1)).squeeze(-1)
        if (r - before).abs().mean() < 0.1:
            break
    return (r.unsqueeze(-1) * c.unsqueeze(-2) * kernel * cosine).sum(dim=(1, 2))
