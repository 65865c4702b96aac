"""How the time of a query grows with k, with the number of patches, and with the gallery.

    python benchmarks/speed/growth.py            # prints the tables
    python benchmarks/speed/growth.py --plot docs/img/growth.svg

CPU milliseconds of one query, medians over rounds that take every point once in a new order.
Stage 2: compiled kernel, C channels, weights given by APC in the kernel, one thread. Stage 1:
the gallery's exact search (float32 product, float64 scores) over D = 256, in memory.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402
from measuring import Clock, load, machine, summary, synthetic  # noqa: E402

from faceflow.arrays import unit  # noqa: E402
from faceflow.gallery.search import exact_search  # noqa: E402
from faceflow.matching.transport import encode, native  # noqa: E402

COUNTS = (10, 30, 100, 300, 1000)
SIDES = (3, 4, 7, 8, 12)
GALLERIES = (1_000, 3_000, 10_000, 30_000, 100_000)
Series = dict[str, list[tuple[float, float]]]
COLOURS = ("#0f766e", "#b45309")


def stage2(k: int, side: int, c: int, dtype: str) -> Callable[[], object]:
    faces = synthetic(k + 1, side, c, 8)
    query, gallery = faces[0], faces[1:]
    codes = encode(gallery.patches, dtype)
    return lambda: native.solve(
        query.patches[0],
        codes,
        weighting="apc",
        pooled_query=query.pooled[0],
        pooled_gallery=gallery.pooled,
        threads=1,
    )


def points(c: int) -> dict[tuple[str, str, int], Callable[[], object]]:
    found: dict[tuple[str, str, int], Callable[[], object]] = {}
    for dtype in ("f32", "int8"):
        for k in COUNTS:
            found["faces re-ranked, k (R = 64)", dtype, k] = stage2(k, 8, c, dtype)
        for side in SIDES:
            found["patches, R (k = 100)", dtype, side * side] = stage2(100, side, c, dtype)
    rng = np.random.default_rng(0)
    matrix = unit(rng.standard_normal((max(GALLERIES), 256), np.float32))
    ids = np.arange(1, max(GALLERIES) + 1)
    for n in GALLERIES:
        query = matrix[n // 2][None]

        def search(n: int = n, query: np.ndarray = query) -> object:
            return exact_search(query, ids[:n], matrix[:n], 100)

        found["faces in the gallery (stage 1)", "f32", n] = search
    return found


def plot(panels: dict[str, Series], title: str) -> str:
    """Three log-log panels as one SVG, readable on light and dark pages."""
    width, height, pad = 250, 200, 50
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * (width + pad) + 20} 290" '
        'font-family="sans-serif" font-size="11" fill="#555">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{pad}" y="18" font-size="13">{title}</text>',
    ]
    for n, (name, series) in enumerate(panels.items()):
        left, top = pad + n * (width + pad), 36
        xs = np.log10([x for line in series.values() for x, _ in line])
        ys = np.log10([y for line in series.values() for _, y in line])
        low, high = np.floor(ys.min()), np.ceil(ys.max())

        def at(
            x: float,
            y: float,
            box: tuple[float, ...] = (left, top, low, high),
            ends: tuple[float, float] = (xs.min(), xs.max()),
        ) -> tuple[float, float]:
            across = (np.log10(x) - ends[0]) / (ends[1] - ends[0])
            up = (np.log10(y) - box[2]) / (box[3] - box[2])
            return box[0] + 8 + across * (width - 24), box[1] + height * (1 - up)

        for power in range(int(low), int(high) + 1):
            _, y = at(10 ** xs.min(), 10.0**power)
            out.append(
                f'<path d="M{left} {y:.1f}h{width - 8}" stroke="#ddd"/>'
                f'<text x="{left - 4}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
            )
        for colour, (label, line) in zip(COLOURS, series.items(), strict=False):
            path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in line)
            out.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            for x, y in line:
                px, py = at(x, y)
                out.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>')
            px, py = at(*line[-1])
            shift = -8 if label == "f32" else 16
            out.append(
                f'<text x="{px:.1f}" y="{py + shift:.1f}" text-anchor="end" fill="{colour}">'
                f"{label}</text>"
            )
        for x in sorted({x for line in series.values() for x, _ in line}):
            px, _ = at(x, 10.0**low)
            out.append(
                f'<text x="{px:.1f}" y="{top + height + 16}" text-anchor="middle">{x:,.0f}</text>'
            )
        out.append(
            f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">'
            f"{name}</text>"
        )
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Time against k, R and gallery size.")
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--plot", type=Path, help="also draw the medians as SVG here")
    options = parser.parse_args()
    print(f"{machine()}\nC = {options.channels}, 1 thread, {options.rounds} rounds")
    found = points(options.channels)
    clocks, names, rng = Clock(), list(found), np.random.default_rng(0)
    for run in found.values():
        run()
    for _ in range(options.rounds):
        for n in rng.permutation(len(names)):
            with clocks.measure(str(names[n])):
                found[names[n]]()
    panels: dict[str, Series] = {}
    for panel, label, x in names:
        times = clocks.cpu[str((panel, label, x))]
        panels.setdefault(panel, {}).setdefault(label, []).append(
            (x, float(np.median(times)) * 1e3)
        )
        print(f"  {panel:32}{label:6}{x:9,}  CPU ms {summary(times)}")
    print(load())
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        options.plot.write_text(plot(panels, f"CPU ms a query, one thread, C = {options.channels}"))


if __name__ == "__main__":
    main()
