"""Optimal transport between patch sets. Arrays only: this package knows nothing of faces."""

from faceflow.transport.codes import decode, encode
from faceflow.transport.exact import ExactEMD
from faceflow.transport.plan import Plan, Status
from faceflow.transport.reference import published_sinkhorn
from faceflow.transport.refined import RefinedPlan, RefinedSinkhorn
from faceflow.transport.sinkhorn import Sinkhorn, Solver

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
