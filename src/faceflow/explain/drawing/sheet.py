"""A sheet to lay pictures and text out on, measured in layout units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain.drawing.colour import INK, MUTED, PAPER, RULE, Colour
from faceflow.explain.drawing.lettering import Lettering
from faceflow.features import Grid

LINE = 1.45  # line height, in font sizes
_INKED = 0.85  # opacity of curves
_SMOOTH = 3  # curves are drawn this many times larger and shrunk: Pillow's own are jagged


class Sheet:
    """Paper of a fixed width, drawn on from top to bottom and cut at the end.

    All positions and sizes are layout units; ``scale`` pixels make one.
    """

    def __init__(self, width: float, height: float, scale: float, font: Path | None) -> None:
        if not 0.5 <= scale <= 8:
            raise InputError(f"scale is {scale}", why="it must lie between 0.5 and 8")
        self.scale = scale
        self.width = width
        self.text = Lettering(scale, font)
        self._image = Image.new("RGB", (self.px(width), self.px(height)), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def px(self, units: float) -> int:
        """Layout units in whole pixels."""
        return round(units * self.scale)

    def finish(self, height: float) -> Image.Image:
        """The sheet, cut to ``height``."""
        return self._image.crop((0, 0, self._image.width, self.px(height)))

    def write(
        self,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        fill: Colour = INK,
        anchor: str = "ls",
        width: float | None = None,
    ) -> None:
        """One line with its base at y, cut to ``width``."""
        shown = text if width is None else self.text.fit(text, size, width)
        self.text.draw(self._draw, x, y, shown, size, fill=fill, anchor=anchor)

    def paragraph(
        self, x: float, y: float, text: str, size: float, width: float, *, fill: Colour = MUTED
    ) -> float:
        """Lines of text from the top y; returns the y below them."""
        for line in self.text.wrap(text, size, width):
            y += size * LINE
            self.write(x, y - 0.4 * size, line, size, fill=fill)
        return y

    def text_height(self, text: str, size: float, width: float) -> float:
        """How tall a paragraph is."""
        return len(self.text.wrap(text, size, width)) * size * LINE

    def picture(self, x: float, y: float, image: Image.Image) -> None:
        """An image with its upper left corner at (x, y), as many pixels as it has."""
        self._image.paste(image, (self.px(x), self.px(y)))

    def box(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        """A filled rectangle; nothing when it has no area."""
        left, top, right, bottom = (self.px(e) for e in (x, y, x + width, y + height))
        if right > left and bottom > top:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill=fill)

    def rule(self, y: float, x0: float, x1: float) -> None:
        """A thin horizontal line."""
        self.box(x0, y, x1 - x0, max(1.0, 1 / self.scale), RULE)

    def scale_bar(self, x: float, y: float, width: float, height: float, colours: UInt8) -> None:
        """A colour scale: (steps, 3) colours from left to right."""
        size = (max(1, self.px(width)), max(1, self.px(height)))
        strip = Image.fromarray(colours[None])
        self.picture(x, y, strip.resize(size, Image.Resampling.BILINEAR))

    def curve(self, points: list[tuple[float, float]], width: float, colour: Colour) -> None:
        """A smooth line through the points, a little transparent."""
        x0 = self.px(min(x for x, _ in points) - width)
        y0 = self.px(min(y for _, y in points) - width)
        x1 = self.px(max(x for x, _ in points) + width) + 1
        y1 = self.px(max(y for _, y in points) + width) + 1
        fine = self.scale * _SMOOTH
        mask = Image.new("L", ((x1 - x0) * _SMOOTH, (y1 - y0) * _SMOOTH))
        path = [(x * fine - x0 * _SMOOTH, y * fine - y0 * _SMOOTH) for x, y in points]
        ImageDraw.Draw(mask).line(
            path, fill=round(255 * _INKED), width=max(1, round(width * fine)), joint="curve"
        )
        self._stamp(x0, y0, mask, colour)

    def dot(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A small filled circle."""
        side = 2 * self.px(radius) + 3
        mask = Image.new("L", (side * _SMOOTH, side * _SMOOTH))
        middle, r = side * _SMOOTH / 2, radius * self.scale * _SMOOTH
        ImageDraw.Draw(mask).ellipse((middle - r, middle - r, middle + r, middle + r), fill=255)
        self._stamp(self.px(x) - side // 2, self.px(y) - side // 2, mask, fill)

    def _stamp(self, left: int, top: int, mask: Image.Image, colour: Colour) -> None:
        small = mask.reduce(_SMOOTH)
        self._image.paste(Image.new("RGB", small.size, colour), (left, top), small)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where things stand on the sheet of one flow picture.

    Attributes:
        sheet: what is drawn on.
        columns: the left edges of the three columns.
        column: their width.
        query: (H, W, 3) the query in the size it is drawn, pixels.
        gallery: the gallery face likewise, or None without a photo.
        gallery_size: (height, width) its place takes, pixels.
    """

    sheet: Sheet
    columns: tuple[float, float, float]
    column: float
    query: UInt8
    gallery: UInt8 | None
    gallery_size: tuple[int, int]

    @property
    def face_height(self) -> float:
        """The height of the taller face, in layout units."""
        return max(int(self.query.shape[0]), self.gallery_size[0]) / self.sheet.scale

    @property
    def line(self) -> int:
        """The width of a grid line in pixels."""
        return max(1, round(self.sheet.scale / 2))


def cell_centres(grid: Grid, width: float, height: float) -> list[tuple[float, float]]:
    """(x, y) of every cell's middle on a picture of that size, row by row."""
    h, w = grid
    return [((c + 0.5) * width / w, (r + 0.5) * height / h) for r in range(h) for c in range(w)]
