"""The compiled Sinkhorn kernel: same plans as the NumPy oracle, several times faster.

Below it stand the faces of the other compiled parts: patch maps, and the int8 scan of stage 1.

Nothing here computes; arrays are checked, laid out and handed over. Each pair's answer is the
same to the last bit for any batch, order of candidates and number of threads. Between
instruction sets the avx2, avxvnni, avx512 and amx levels agree to the last bit for f32 and
int8; the portable level rounds differently in float32 (no fused multiply-add on x86-64) and bf16
products differ where the processor has its own instruction for them.

Patches may be stored as float32, bfloat16 (uint16) or int8, see :mod:`.codes`; the query is
always float and is rounded to the gallery's format inside the kernel. Last axes must be
contiguous: a query, weights or pooled features that are not are copied; a gallery array that
is not is refused, because copying it unasked would cost more than the solve.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faceflow.arrays import Float32, Float64, Floats, Int8, Int16, Int64, unit
from faceflow.errors import InputError, MissingExtraError
from faceflow.matching.transport.codes import DTYPES, Buffer, Codes, DType, dtype_of
from faceflow.matching.transport.plan import Plan
from faceflow.matching.transport.problem import check_weights

try:
    from faceflow import _kernel
except ImportError as _missing:  # a source tree without a build; the NumPy backend remains
    _why_missing: ImportError | None = _missing
else:
    _why_missing = None

WEIGHTINGS = ("uniform", "apc", "sc")
"""Weightings the kernel computes itself, as :func:`faceflow.matching.weighting.weigh` does."""

NUMPY_SLOWER = "about 5 to 13 times as long (20 ms instead of 2 for 100 candidates)"
"""What comparing faces costs without this kernel: 64 patches x 128 channels (13 times) and 49 x 512
(5 times), float32, one thread, CPU time of both in turn."""
MOST_PATCHES = 256
MOST_CHANNELS = 2048
_ITEM_BYTES = {"f32": 4, "bf16": 2, "int8": 1}


def available() -> bool:
    """Whether the compiled kernel is installed."""
    return _why_missing is None


def why_missing() -> str | None:
    """Why the compiled kernel cannot be used here; None where it can."""
    if _why_missing is None:
        return None
    built = sorted(
        path.name for path in Path(__file__).parents[2].glob("_kernel.*") if path.suffix != ".pyi"
    )
    if built:
        return f"{built[0]} does not load ({_why_missing})"
    return "this installation was built without a C++17 compiler"


def fits(patches: int, gallery_patches: int, channels: int) -> bool:
    """Whether the kernel takes these sizes: R and S in 1..256, C in 1..2048."""
    return (
        1 <= patches <= MOST_PATCHES
        and 1 <= gallery_patches <= MOST_PATCHES
        and 1 <= channels <= MOST_CHANNELS
    )


@dataclass(frozen=True, slots=True)
class KernelInfo:
    """What the compiled kernel can do here.

    Attributes:
        built: instruction sets in this build, slowest first.
        available: those this machine can run.
        active: the one each dtype uses now (``FACEFLOW_ISA`` considered).
        cores: physical cores, the default number of threads.
    """

    built: tuple[str, ...]
    available: tuple[str, ...]
    active: dict[DType, str]
    cores: int


def info() -> KernelInfo:
    """Describe the kernel; raises :class:`MissingExtraError` where it is not built."""
    _require()
    return KernelInfo(
        built=tuple(_kernel.built_levels()),
        available=tuple(_kernel.isa_levels()),
        active={dtype: _kernel.active_isa(dtype, isa=_level(None)) for dtype in DTYPES},
        cores=_kernel.physical_cores(),
    )


def solve(
    query_patches: Floats,
    gallery: Codes | Sequence[Buffer],
    *,
    u: Floats | None = None,
    v: Floats | None = None,
    weighting: str = "given",
    pooled_query: Floats | None = None,
    pooled_gallery: Floats | None = None,
    candidates: Int64 | None = None,
    scales: Floats | None = None,
    dtype: DType | None = None,
    gallery_patches: int | None = None,
    epsilon: float = 0.05,
    tolerance: float = 1e-3,
    max_iterations: int = 1000,
    flow: bool = False,
    threads: int | None = None,
    isa: str | None = None,
) -> Plan:
    """Solve one query, or B queries at once, against N candidates each.

    Args:
        query_patches: (R, C) or (B, R, C) float, unit rows.
        gallery: (M, S, C) float32, uint16 (bf16) or int8, any strides but a contiguous last
            axis; or M buffers (bytes, memoryview, array), each one face's (S, C) codes, read
            where they lie.
        u: (N, R), (R,) or (B, N, R) query weights, not negative; scaled to sum 1.
        v: (N, S), (S,) or (B, N, S) gallery weights of each candidate, likewise.
        weighting: "given" (u and v), or computed in the kernel as
            :func:`faceflow.matching.weighting.weigh` does: "uniform", "apc" (needs pooled features)
            or "sc".
        pooled_query: (C,) or (B, C), for apc.
        pooled_gallery: (M, C), for apc.
        candidates: (N,) or (B, N) int64 rows of ``gallery``, each 0..M-1; default all of them.
        scales: (M, S) float, for int8: what a patch's codes are multiplied with to be unit;
            default the inverse of their length, computed in the kernel.
        dtype: the format of buffers (arrays tell themselves).
        gallery_patches: S of buffers; default R.
        epsilon: regularisation.
        tolerance: L1 row-marginal error at which a pair is done; below 1e-5 float64 is used.
        max_iterations: cap per pair.
        flow: also return the flows, float32.
        threads: default the physical cores. No result depends on it.
        isa: force an instruction set; default ``$FACEFLOW_ISA``, else the best there is.

    Returns:
        A plan with one entry per candidate, or fields of shape (B, N) for B queries.

    Raises:
        InputError: shapes disagree, a weight is negative, a candidate is outside the gallery,
            or this machine lacks the instruction set.
        MissingExtraError: the kernel is not built.
    """
    _require()
    many = np.ndim(query_patches) == 3
    query = _floats("query_patches", query_patches, 3)
    b, r, c = query.shape
    faces, s, kind = _gallery_shape(gallery, c, r, dtype, gallery_patches)
    if not fits(r, s, c):
        raise InputError(
            f"the compiled kernel does not take R={r}, S={s}, C={c}",
            why=f"patches go from 1 to {MOST_PATCHES}, channels from 1 to {MOST_CHANNELS}",
            todo="use the numpy backend",
        )
    rows = None
    n = faces
    if candidates is not None:
        rows = np.ascontiguousarray(np.atleast_2d(np.asarray(candidates, dtype=np.int64)))
        if rows.ndim != 2 or rows.shape[0] != b:
            raise InputError(f"candidates have shape {np.shape(candidates)}, not ({b}, N)")
        n = rows.shape[1]
        if rows.size and (rows.min() < 0 or rows.max() >= faces):
            raise InputError(
                "a candidate lies outside the gallery",
                why=f"rows go from 0 to {faces - 1}",
                todo="drop the padding of a short list first",
            )
    weights = [
        None if weighting != "given" else _weights(name, w, (b, n, size))
        for name, w, size in (("u", u, r), ("v", v, s))
    ]
    apc = weighting == "apc"
    similarity, status = np.empty((b, n)), np.empty((b, n), dtype=np.int8)
    iterations, error = np.empty((b, n), dtype=np.int32), np.empty((b, n), dtype=np.float32)
    flows = np.empty((b, n, r, s), dtype=np.float32) if flow else None
    try:
        _kernel.solve(
            query,
            gallery if isinstance(gallery, np.ndarray) else list(gallery),
            faces=faces,
            gallery_patches=s,
            dtype=kind,
            scales=None if scales is None or kind != "int8" else _floats("scales", scales, 2),
            candidates=rows,
            weighting=weighting,
            u=weights[0],
            v=weights[1],
            pooled_query=_floats("pooled_query", pooled_query, 2) if apc else None,
            pooled_gallery=_floats("pooled_gallery", pooled_gallery, 2) if apc else None,
            epsilon=epsilon,
            tolerance=tolerance,
            max_iterations=max_iterations,
            threads=threads or 0,
            isa=_level(isa),
            similarity=similarity,
            iterations=iterations,
            marginal_error=error,
            status=status,
            flow=flows,
        )
    except (ValueError, BufferError) as refused:
        raise InputError(str(refused)) from refused
    plan = Plan(similarity, iterations.astype(np.int64), error.astype(np.float64), status, flows)
    return plan if many else _first(plan)


def _require() -> None:
    if _why_missing is not None:
        raise MissingExtraError(
            "the compiled transport kernel is not installed",
            why=why_missing() or "",
            todo="reinstall faceflow from a wheel, or with a C++17 compiler at hand",
        ) from _why_missing


def _level(isa: str | None) -> str:
    level = isa or os.environ.get("FACEFLOW_ISA", "")
    known = _kernel.isa_levels()
    if level and level not in known:
        raise InputError(
            f"this machine cannot run the instruction set {level!r}",
            todo=f"choose one of {', '.join(known)}, or none for the best",
        )
    return level


def _gallery_shape(
    gallery: Codes | Sequence[Buffer], c: int, r: int, dtype: DType | None, s: int | None
) -> tuple[int, int, DType]:
    """Faces M, patches S and format of a gallery; arrays must be readable in place."""
    if not isinstance(gallery, np.ndarray):
        if dtype not in _ITEM_BYTES:
            raise InputError(f"buffers of dtype {dtype!r}", todo="say dtype f32, bf16 or int8")
        return len(gallery), r if s is None else s, dtype
    kind = dtype_of(gallery)
    if gallery.ndim != 3 or gallery.shape[2] != c:
        raise InputError(
            f"query patches with C={c} do not go with gallery patches {gallery.shape}",
            why="(R, C) and (M, S, C) with one C are needed",
        )
    size = _ITEM_BYTES[kind]
    native_type = gallery.itemsize == size and gallery.dtype.isnative
    in_place = (c == 1 or gallery.strides[2] == size) and not any(x % size for x in gallery.strides)
    if not native_type or not (in_place or gallery.size == 0):
        raise InputError(
            f"gallery patches of type {gallery.dtype} with strides {gallery.strides} cannot be "
            "read in place",
            why="float32, uint16 or int8 with a contiguous last axis is needed",
            todo="pass a contiguous copy (numpy.ascontiguousarray)",
        )
    return gallery.shape[0], gallery.shape[1], kind


def _floats(name: str, values: Floats | None, ndim: int) -> Float32:
    """Float32 with ``ndim`` axes (one may be missing in front), aligned, last axis contiguous."""
    if values is None:
        raise InputError(f"{name} is missing")
    array: NDArray[Any] = np.asarray(values, dtype=np.float32)
    if array.ndim == ndim - 1:
        array = array[None]
    if array.ndim != ndim:
        raise InputError(f"{name} has shape {np.shape(values)}", why=f"{ndim} axes are needed")
    readable = array.flags.aligned and all(x % 4 == 0 for x in array.strides)
    if not readable or (array.shape[-1] > 1 and array.strides[-1] != 4):
        array = np.ascontiguousarray(array)
    return array


def _weights(name: str, weights: Floats | None, shape: tuple[int, int, int]) -> Float32:
    if weights is None:
        raise InputError(f"weights {name} are missing", why='weighting "given" needs them')
    given = check_weights(name, weights, shape[-2], shape[-1], batch=shape[0])
    if given.dtype != np.float32:
        # Weights that float32 could not hold are scaled by their largest, to keep proportions.
        top = given.max(axis=-1, keepdims=True, initial=0.0)
        with np.errstate(invalid="ignore"):
            given = given / np.where((top > 0) & ((top < 1e-20) | (top > 1e20)), top, 1.0)
    return np.broadcast_to(_floats(name, given, given.ndim), shape)


def _first(plan: Plan) -> Plan:
    return Plan(
        plan.similarity[0],
        plan.iterations[0],
        plan.marginal_error[0],
        plan.status[0],
        None if plan.flow is None else plan.flow[0],
    )


def project(
    patches: Float32, projection: Float32, *, threads: int | None = None, isa: str = ""
) -> tuple[Float32, Float32]:
    """Each patch through its own linear map, made unit.

    Args:
        patches: (N, R, C) float32 with a contiguous last axis.
        projection: (R, C, D) float32, contiguous.
        threads: of the kernel; None: one per physical core.
        isa: force an instruction set, as for :func:`solve`.

    Returns:
        (N, R, D) unit rows (zero where the product is zero) and (N, R) their lengths. A face's
        numbers are the same to the last bit in any batch and for any number of threads.
    """
    n, r, c = patches.shape
    if projection.shape[:2] != (r, c):
        raise InputError(
            f"the projection has shape {projection.shape}", why=f"patches need ({r}, {c}, D)"
        )
    d = projection.shape[2]
    out = np.empty((n, r, d), np.float32)
    lengths = np.empty((n, r), np.float32)
    if _why_missing is not None:
        # One face at a time: products of one shape, so that the batch cannot matter.
        for face in range(n):
            raw = np.matmul(patches[face][:, None, :], projection)[:, 0]
            lengths[face] = np.linalg.norm(raw.astype(np.float64), axis=1)
            out[face] = unit(raw)
        return out, lengths
    _kernel.project(patches, projection, out=out, lengths=lengths, threads=threads or 0, isa=isa)
    return out, lengths


class Contributed(NamedTuple):
    """What patches add to embeddings, in whole numbers; see :func:`contribute`.

    Attributes:
        codes: (N, R, D) int8 and
        residues: (N, R, D) int8, 1/256 of a code each.
        unit: (N, R) float32, what they are multiplied with to be the products of patch and map.
        squares: (N, R) int64, 2**16 times the squared length of the given codes.
        covered: (N, R) int64, 2**8 times their product with the cover.
    """

    codes: Int8
    residues: Int8
    unit: Float32
    squares: Int64
    covered: Int64


def active_level() -> str:
    """The instruction set in use: ``$FACEFLOW_ISA``, else the best there is."""
    _require()
    return _level(None) or _kernel.isa_levels()[-1]


def pack_map(map_: Int16, *, isa: str | None = None) -> bytes:
    """A map (R, C, D) of 16-bit numbers as :func:`contribute` reads it at one instruction set."""
    _require()
    return _kernel.pack_map(np.ascontiguousarray(map_), isa=_level(isa))


def contribute(
    codes: Int8,
    residues: Int8 | None,
    packed: bytes,
    map_scale: Float32,
    cover: Int16,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> Contributed:
    """Each int8 patch through its own map of 16-bit numbers, rounded to int8 again.

    See ``native/src/contribute.hpp``; :func:`faceflow.matching.contributions.contribute` is its
    twin, and every instruction set gives the same bits.

    Args:
        codes: (N, R, C) int8 and
        residues: (N, R, C) int8, 1/256 of a code each; None: zero.
        packed: the map from :func:`pack_map` for this instruction set. Its numbers must be so
            small that C products with codes add up within 32 bits.
        map_scale: (R, D) float32, what the map's numbers are multiplied with.
        cover: (R, C) int16, as small.
        threads: default the physical cores. No result depends on it.
        isa: force an instruction set; default ``$FACEFLOW_ISA``, else the best there is.
    """
    _require()
    codes = np.ascontiguousarray(codes)
    n, r, _ = codes.shape
    d = map_scale.shape[1]
    found = Contributed(
        np.empty((n, r, d), np.int8),
        np.empty((n, r, d), np.int8),
        np.empty((n, r), np.float32),
        np.empty((n, r), np.int64),
        np.empty((n, r), np.int64),
    )
    try:
        _kernel.contribute(
            codes,
            residues=None if residues is None else np.ascontiguousarray(residues),
            packed=np.frombuffer(packed, np.uint8),
            map_scale=np.ascontiguousarray(map_scale),
            cover=np.ascontiguousarray(cover),
            out=found.codes,
            out_residue=found.residues,
            unit=found.unit,
            squares=found.squares,
            covered=found.covered,
            threads=threads or 0,
            isa=_level(isa),
        )
    except ValueError as refused:
        raise InputError(str(refused)) from refused
    return found


def visible_cosine(
    shown: Float32,
    query: Float32,
    usual: Float32,
    codes: Int8,
    residues: Int8,
    factor: Float32,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> Float64:
    """Cosine of what one query and N faces both show, see ``native/src/visible.hpp``.

    Args:
        shown: (N, R) float32 weights of the places.
        query: (R, D) float32, what the query adds there beyond the usual.
        usual: (R, D) float32.
        codes: (N, R, D) int8,
        residues: (N, R, D) int8 and
        factor: (N, R) float32: ``factor * (codes + residues / 256)`` is what each face adds.
        threads: default the physical cores. No result depends on it.
        isa: force an instruction set; all give the same bits.

    Returns:
        (N,) float64 in [-1, 1], 0 where nothing is shown.
    """
    _require()
    cosine = np.empty(len(codes))
    try:
        _kernel.visible_cosine(
            shown=np.ascontiguousarray(shown, np.float32),
            query=np.ascontiguousarray(query, np.float32),
            usual=np.ascontiguousarray(usual, np.float32),
            codes=np.ascontiguousarray(codes),
            residues=np.ascontiguousarray(residues),
            factor=np.ascontiguousarray(factor, np.float32),
            cosine=cosine,
            threads=threads or 0,
            isa=_level(isa),
        )
    except ValueError as refused:
        raise InputError(str(refused)) from refused
    return np.asarray(np.clip(cosine, -1, 1), dtype=np.float64)


def round_rows(
    matrix: Float32, begin: int, end: int, codes: Int8, scales: Float32, residues: Float32
) -> None:
    """Round rows begin..end of (n, D) embeddings in place, see ``native/src/scan.hpp``."""
    _require()
    _kernel.round_rows(matrix, begin, end, codes=codes, scales=scales, residues=residues)


def survivors(
    query: Int8,
    of_query: tuple[Float32, Float32, Float32],
    rounded: tuple[Int8, Float32, Float32],
    faces: int,
    k: int,
    *,
    threads: int | None = None,
    isa: str | None = None,
) -> list[Int64]:
    """Rows that can be among the best k by int8 scores, see ``native/src/scan.hpp``.

    Args:
        query: (Q, words * 4) codes.
        of_query: each (Q,): scale, length, and the error that does not depend on the face.
        rounded: codes (blocks, words, 16, 4), scales and residues (blocks * 16,).
        faces: n.
        k: how many best.
        threads: default the physical cores.
        isa: force an instruction set; default ``$FACEFLOW_ISA``, else the best there is.
    """
    _require()
    scale, length, slack = of_query
    codes, scales, residues = rounded
    found = _kernel.survivors(
        query,
        scale=scale,
        length=length,
        slack=slack,
        codes=codes,
        scales=scales,
        residues=residues,
        faces=faces,
        k=k,
        threads=threads or 0,
        isa=_level(isa),
    )
    return [np.frombuffer(rows, dtype=np.int64) for rows in found]
