"""The fused kernel; :mod:`.fused` calls it. Triton is imported when this module is."""

import triton
import triton.language as tl


@triton.jit
def solve_pair(
    query,
    faces,
    query_scales,
    face_scales,
    query_rows,
    face_rows,
    u,
    v,
    similarity,
    iterations,
    error,
    status,
    flows,
    inverse_epsilon,
    tolerance,
    max_iterations,
    exp_range,
    most_cosine,
    R: tl.constexpr,
    S: tl.constexpr,
    C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_C: tl.constexpr,
    SCALED: tl.constexpr,
    APC: tl.constexpr,
    FLOW: tl.constexpr,
):
    """One pair, one program.

    query (B, R, C) and faces (M, S, C) in one format; with SCALED int8, with scales (B, R) and
    (M, S). u (P, R) and v (P, S) are weights; with APC centres (B, C) and (M, C) to make them of.
    """
    pair = tl.program_id(0).to(tl.int64)
    q = tl.load(query_rows + pair)
    g = tl.load(face_rows + pair)
    i, j, c = tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_S), tl.arange(0, BLOCK_C)
    row, column = i < R, j < S
    inside = row[:, None] & column[None, :]

    cosine = tl.zeros((BLOCK_R, BLOCK_S), dtype=tl.float32)
    weight_u = tl.zeros((BLOCK_R,), dtype=tl.float32)
    weight_v = tl.zeros((BLOCK_S,), dtype=tl.float32)
    for start in range(0, C, BLOCK_C):
        channel = start + c
        a = tl.load(
            query + (q * R + i[:, None]) * C + channel[None, :],
            mask=row[:, None] & (channel[None, :] < C),
            other=0,
        )
        b = tl.load(
            faces + (g * S + j[None, :]) * C + channel[:, None],
            mask=column[None, :] & (channel[:, None] < C),
            other=0,
        )
        if APC:
            centre_q = tl.load(u + q * C + channel, mask=channel < C, other=0.0)
            centre_g = tl.load(v + g * C + channel, mask=channel < C, other=0.0)
            weight_u += tl.sum(a.to(tl.float32) * centre_g[None, :], axis=1)
            weight_v += tl.sum(b.to(tl.float32) * centre_q[:, None], axis=0)
        if SCALED:
            a = a.to(tl.float16)
            b = b.to(tl.float16)
        # Full float32; 16-bit numbers are multiplied exactly in any case.
        cosine = tl.dot(a, b, cosine, input_precision="ieee")
    if SCALED:
        scale_q = tl.load(query_scales + q * R + i, mask=row, other=0.0)
        scale_g = tl.load(face_scales + g * S + j, mask=column, other=0.0)
        cosine = cosine * scale_q[:, None] * scale_g[None, :]
        weight_u = weight_u * scale_q
        weight_v = weight_v * scale_g

    if APC:
        # Where nothing points to the other face, nothing is preferred.
        weight_u = tl.maximum(weight_u, 0.0)
        weight_v = tl.maximum(weight_v, 0.0)
        weight_u = tl.where(tl.sum(weight_u, axis=0) > 0, weight_u, tl.where(row, 1.0, 0.0))
        weight_v = tl.where(tl.sum(weight_v, axis=0) > 0, weight_v, tl.where(column, 1.0, 0.0))
        weight_u = weight_u / tl.sum(weight_u, axis=0)
        weight_v = weight_v / tl.sum(weight_v, axis=0)
    else:
        weight_u = tl.load(u + pair * R + i, mask=row, other=0.0)
        weight_v = tl.load(v + pair * S + j, mask=column, other=0.0)
    # A NaN is not within any bound.
    wrong = tl.where(inside & (tl.abs(cosine) <= most_cosine), 0, 1)
    wrong = tl.sum(tl.sum(tl.where(inside, wrong, 0), axis=1), axis=0)
    top = tl.max(tl.max(tl.where(inside, cosine, float("-inf")), axis=1), axis=0)
    low = tl.min(tl.min(tl.where(inside, cosine, float("inf")), axis=1), axis=0)
    mass = (tl.max(weight_u, axis=0) > 0) & (tl.max(weight_v, axis=0) > 0)
    state = tl.where((top - low) * inverse_epsilon <= exp_range, 0, 4)
    state = tl.where(mass, state, 2)
    state = tl.where(wrong > 0, 3, state)

    k = tl.where(inside, tl.exp((cosine - top) * inverse_epsilon), 0.0)
    row_mass = tl.where(row, tl.sum(k, axis=1), 1.0)
    r = tl.zeros((BLOCK_R,), dtype=tl.float32)
    t = tl.zeros((BLOCK_S,), dtype=tl.float32)
    off = tolerance + 1.0
    spent = 0
    last = tl.where(state == 0, max_iterations, 0)
    while (spent < last) & (off >= tolerance):
        r = weight_u / row_mass
        t = weight_v / tl.where(column, tl.sum(k * r[:, None], axis=0), 1.0)
        row_mass = tl.where(row, tl.sum(k * t[None, :], axis=1), 1.0)
        off = tl.sum(tl.abs(r * row_mass - weight_u), axis=0)
        spent += 1

    flow = r[:, None] * k * t[None, :]
    # Each query patch's share first, then their sum.
    shares = tl.sum(tl.where(inside, flow * cosine, 0.0), axis=1)
    tl.store(similarity + pair, tl.sum(shares, axis=0))
    tl.store(iterations + pair, spent)
    tl.store(error + pair, off)
    tl.store(status + pair, tl.where((state == 0) & (off >= tolerance), 1, state))
    if FLOW:
        tl.store(flows + (pair * R + i[:, None]) * S + j[None, :], flow, mask=inside)
