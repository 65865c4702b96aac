"""The compiled kernels; :mod:`faceflow.matching.transport.native` is their only caller."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from faceflow.matching.transport.codes import Buffer

def solve(
    query: NDArray[Any],
    gallery: NDArray[Any] | Sequence[Buffer],
    *,
    faces: int,
    gallery_patches: int,
    dtype: str,
    scales: NDArray[Any] | None,
    candidates: NDArray[Any] | None,
    weighting: str,
    u: NDArray[Any] | None,
    v: NDArray[Any] | None,
    pooled_query: NDArray[Any] | None,
    pooled_gallery: NDArray[Any] | None,
    epsilon: float,
    tolerance: float,
    max_iterations: int,
    threads: int,
    isa: str,
    similarity: NDArray[Any],
    iterations: NDArray[Any],
    marginal_error: NDArray[Any],
    status: NDArray[Any],
    flow: NDArray[Any] | None,
) -> None: ...
def built_levels() -> list[str]: ...
def isa_levels() -> list[str]: ...
def active_isa(dtype: str = "f32", *, isa: str = "") -> str: ...
def physical_cores() -> int: ...
def project(x: Any, map: Any, *, out: Any, lengths: Any, threads: int, isa: str) -> None: ...
def peak(dtype: str, *, isa: str = "", seconds: float = 0.2) -> float: ...
def round_rows(
    matrix: Any, begin: int, end: int, *, codes: Any, scales: Any, residues: Any
) -> None: ...
def survivors(
    query: Any,
    *,
    scale: Any,
    length: Any,
    slack: Any,
    codes: Any,
    scales: Any,
    residues: Any,
    faces: int,
    k: int,
    threads: int,
    isa: str,
) -> list[bytes]: ...
