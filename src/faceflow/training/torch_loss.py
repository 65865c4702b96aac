"""The ArcFace loss as a PyTorch module; :mod:`faceflow.training.loss` is the same in NumPy."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class ArcFaceMargin(nn.Module):
    """Mean cross-entropy of s cos(theta), the true person's theta enlarged by m.

    Args:
        centres: (P, D) one per person, learned from here.
        s: scale.
        m: margin in radians.
    """

    def __init__(self, centres: Tensor, s: float, m: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.clone())
        self.s, self.m = s, m

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """(N, D) raw embeddings and (N,) labels -> loss, computed in float32."""
        with torch.autocast(embedding.device.type, enabled=False):
            e = functional.normalize(embedding.float())
            cosine = e @ functional.normalize(self.centres.float()).T
            own = cosine.gather(1, labels[:, None]).clamp(-1, 1)
            sine = (1 - own**2).clamp(min=1e-12).sqrt()
            target = torch.where(
                own > math.cos(math.pi - self.m),
                own * math.cos(self.m) - sine * math.sin(self.m),
                own - self.m * math.sin(self.m),
            )
            logits = self.s * cosine.scatter(1, labels[:, None], target)
            return functional.cross_entropy(logits, labels)
