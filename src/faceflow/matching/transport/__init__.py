"""Optimal transport between patch sets. Arrays only: this package knows nothing of faces."""

from faceflow.matching.transport.codes import decode, encode
from faceflow.matching.transport.exact import ExactEMD
from faceflow.matching.transport.plan import Plan, Status
from faceflow.matching.transport.reference import published_sinkhorn
from faceflow.matching.transport.refined import RefinedPlan, RefinedSinkhorn
from faceflow.matching.transport.sinkhorn import Sinkhorn, Solver

__all__ = [
    "ExactEMD",
    "Plan",
    "RefinedPlan",
    "RefinedSinkhorn",
    "Sinkhorn",
    "Solver",
    "Status",
    "decode",
    "encode",
    "published_sinkhorn",
]
