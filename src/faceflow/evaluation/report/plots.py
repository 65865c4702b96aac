"""Line charts as inline SVG, drawn from numbers alone: no library, no script, no font file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 46
# Told apart by lightness and dash too, for those who do not see the hues.
COLOURS = ("#1f6f8b", "#c8553d", "#6a4c93", "#588157", "#b08900", "#4a4e69", "#d1495b", "#2a9d8f")
_DASHES = ("", "6 4", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Series:
    """A named line; ``colour`` and ``dash`` count into the palettes."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dash: int = 0
    markers: bool = False


def chart(
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """An SVG element with axes, grid, lines and a legend below the plot.

    Args:
        series: at least one line with at least one point; where an axis is logarithmic, points
            at or below 0 are left out.
        x_title, y_title: what the axes show.
        log_x, log_y: logarithmic axes.
    """
    shown = [_usable(one, log_x, log_y) for one in series]
    x_axis = _Axis([x for _, points in shown for x, _ in points], log_x, _LEFT, WIDTH - _RIGHT)
    y_axis = _Axis([y for _, points in shown for _, y in points], log_y, HEIGHT - _BOTTOM, _TOP)
    legend = 20 * len(shown) + 4
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT + legend}" role="img" '
        f'aria-label="{escape(y_title)} against {escape(x_title)}">'
    ]
    for value, at in y_axis.ticks():
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 7}" y="{at + 4}" text-anchor="end">{value}</text>'
        )
    for value, at in x_axis.ticks():
        parts.append(
            f'<line class="grid" x1="{at}" x2="{at}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        )
        parts.append(
            f'<text class="tick" x="{at}" y="{HEIGHT - _BOTTOM + 17}" text-anchor="middle">'
            f"{value}</text>"
        )
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text class="axis" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 10}" '
        f'text-anchor="middle">{escape(x_title)}</text>'
        f'<text class="axis" transform="translate(15 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_title)}</text>'
    )
    for place, (one, points) in enumerate(shown):
        colour = COLOURS[one.colour % len(COLOURS)]
        dash = _DASHES[one.dash % len(_DASHES)]
        style = f'stroke="{colour}"' + (f' stroke-dasharray="{dash}"' if dash else "")
        drawn = [(x_axis.at(x), y_axis.at(y)) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in drawn)
        parts.append(f'<polyline class="line" points="{path}" {style}/>')
        if one.markers:
            parts += [f'<circle cx="{x}" cy="{y}" r="2.6" fill="{colour}"/>' for x, y in drawn]
        row = HEIGHT + 20 * place + 10
        parts.append(
            f'<line class="line" x1="{_LEFT}" x2="{_LEFT + 30}" y1="{row - 4}" y2="{row - 4}" '
            f"{style}/>"
            f'<text class="tick" x="{_LEFT + 38}" y="{row}">{escape(one.name)}</text>'
        )
    return "".join([*parts, "</svg>"])


_STYLE = (
    "svg{font:12px system-ui,sans-serif;background:#fff}.grid{stroke:#ddd}.tick,.axis{fill:#333}"
    ".line{fill:none;stroke-width:2}"
)


def standalone(svg: str, title: str) -> str:
    """An element that :func:`chart` made as a document of its own, for a file."""
    start = '<svg xmlns="http://www.w3.org/2000/svg" '
    inner = svg.removeprefix("<svg ")
    head, _, rest = inner.partition(">")
    return f"{start}{head}><title>{escape(title)}</title><style>{_STYLE}</style>{rest}\n"


def _usable(one: Series, log_x: bool, log_y: bool) -> tuple[Series, list[tuple[float, float]]]:
    points = [
        (x, y)
        for x, y in zip(one.x, one.y, strict=True)
        if math.isfinite(x)
        and math.isfinite(y)
        and not (log_x and x <= 0)
        and not (log_y and y <= 0)
    ]
    return one, points


class _Axis:
    """Takes numbers to pixels between ``start`` and ``end``."""

    def __init__(self, values: list[float], log: bool, start: float, end: float) -> None:
        low, high = (min(values), max(values)) if values else (0.1, 1.0)
        self.log, self._start, self._end = log, start, end
        self._low: float
        self._high: float
        if log:
            self._low, self._high = math.floor(math.log10(low)), math.ceil(math.log10(high))
            self._high = max(self._high, self._low + 1)
            self._step = 1.0
        else:
            rough = max(high - low, 1e-3) / 5
            power = 10 ** math.floor(math.log10(rough))
            self._step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
            self._low = self._step * math.floor(low / self._step + 1e-9)
            self._high = self._step * math.ceil(high / self._step - 1e-9)
            if self._high <= self._low:
                self._high = self._low + self._step

    def at(self, value: float) -> float:
        """Pixel of a value."""
        place = math.log10(value) if self.log else value
        share = (place - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> list[tuple[str, float]]:
        """(label, pixel) of each grid line."""
        count = round((self._high - self._low) / self._step)
        places = [self._low + n * self._step for n in range(count + 1)]
        values = [10**place if self.log else place for place in places]
        return [(f"{value:.6g}", self.at(value)) for value in values]
