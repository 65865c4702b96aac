"""Text in pictures: one typeface, sizes in layout units, cut or wrapped to a width."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from PIL import ImageDraw, ImageFont

from faceflow.errors import InputError
from faceflow.explain.drawing.colour import INK, Colour

# Pillow's own font knows ASCII only. A name in another script is set in the first of these
# that is installed and has all its letters.
WIDER_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "PingFang.ttc",
    "msyh.ttc",
)
_NOWHERE = "\U0010fffd"


@dataclass(slots=True)
class Lettering:
    """Draws and measures text; sizes and widths are layout units, ``scale`` pixels each.

    Attributes:
        scale: pixels per layout unit.
        path: a TrueType font to use in place of Pillow's own.
    """

    scale: float
    path: Path | None = None
    _fonts: dict[tuple[str, float], ImageFont.FreeTypeFont | None] = field(default_factory=dict)

    def width(self, text: str, size: float) -> float:
        """The width of one line, in layout units."""
        text, font = self._set(text, size)
        return font.getlength(text) / self.scale

    def fit(self, text: str, size: float, width: float) -> str:
        """The text, cut with an ellipsis where it is wider than ``width``."""
        if self.width(text, size) <= width:
            return text
        # Halving, not letter by letter: a hostile name may be very long.
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            half = (fits + too_long) // 2
            if self.width(text[:half].rstrip() + "…", size) <= width:
                fits = half
            else:
                too_long = half
        return text[:fits].rstrip() + "…"

    def wrap(self, text: str, size: float, width: float) -> list[str]:
        """The text in lines no wider than ``width``; a longer word is cut."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(self.fit(word, size, width))
        return lines

    def draw(
        self,
        draw: ImageDraw.ImageDraw,
        x: float,
        y: float,
        text: str,
        size: float,
        *,
        fill: Colour = INK,
        anchor: str = "ls",
    ) -> None:
        """Write one line at layout position (x, y); ``anchor`` as in Pillow."""
        text, font = self._set(text, size)
        draw.text((x * self.scale, y * self.scale), text, font=font, fill=fill, anchor=anchor)

    def _set(self, text: str, size: float) -> tuple[str, ImageFont.FreeTypeFont]:
        """The text as it can be drawn, and the font to draw it in."""
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        own = self._own(size)
        if _covers(own, text):
            return text, own
        for name in WIDER_FONTS if self.path is None else ():
            wider = self._installed(name, size)
            if wider is not None and _covers(wider, text):
                return text, wider
        # No font has the letters: without their accents most Latin ones can be drawn.
        plain = "".join(
            c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)
        )
        return plain, own

    def _installed(self, name: str, size: float) -> ImageFont.FreeTypeFont | None:
        """A font of this computer, or None where it has none of that name."""
        key = (name, size)
        if key not in self._fonts:
            try:
                self._fonts[key] = ImageFont.truetype(name, size * self.scale)
            except OSError:
                self._fonts[key] = None
        return self._fonts[key]

    def _own(self, size: float) -> ImageFont.FreeTypeFont:
        """The chosen font, or Pillow's own."""
        known = self._fonts.get(("", size))
        if known is not None:
            return known
        pixels = size * self.scale
        try:
            font = ImageFont.truetype(self.path, pixels) if self.path else None
        except OSError as error:
            raise InputError(
                f"the font {self.path} cannot be used",
                why=str(error),
                todo="give the path of a TrueType or OpenType file, or leave it out",
            ) from error
        shipped = font or ImageFont.load_default(pixels)
        if not isinstance(shipped, ImageFont.FreeTypeFont):
            raise InputError(
                "this Pillow cannot draw text in a chosen size",
                why="it was built without FreeType",
                todo="install Pillow from a wheel: pip install --force-reinstall pillow",
            )
        self._fonts["", size] = shipped
        return shipped


def _covers(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether the font has a glyph for every character; a missing one looks like U+10FFFD."""
    if text.isascii():
        return True
    missing = bytes(font.getmask(_NOWHERE))
    return all(c == " " or bytes(font.getmask(c)) != missing for c in set(text))
