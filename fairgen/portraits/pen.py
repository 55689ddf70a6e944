"""A small antialiased pen: shapes in picture units (64 to a side), drawn four times larger and
reduced.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

WHITE: Colour = (250, 250, 250)
BLACK: Colour = (34, 34, 40)
NAVY: Colour = (34, 50, 96)
GOLD: Colour = (240, 192, 60)
RED: Colour = (206, 44, 44)
SILVER: Colour = (206, 212, 220)

_SCALE = 4


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour made darker (factor < 1) or lighter (factor > 1)."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


class Pen:
    """Draws filled shapes on one picture; all coordinates are in final pixels, with fractions."""

    def __init__(self, size_px: int, background: Colour) -> None:
        side = size_px * _SCALE
        self._image = Image.new("RGB", (side, side), background)
        self._draw = ImageDraw.Draw(self._image)
        self._dx = self._dy = 0.0

    def move(self, dx: float, dy: float) -> None:
        """Shift everything drawn from now on by (dx, dy) pixels."""
        self._dx, self._dy = dx, dy

    def _at(self, x: float, y: float) -> Point:
        return (x + self._dx) * _SCALE, (y + self._dy) * _SCALE

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> list[Point]:
        return [self._at(x0, y0), self._at(x1, y1)]

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        self._draw.ellipse(self._box(x0, y0, x1, y1), fill=fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self.ellipse(x - radius, y - radius, x + radius, y + radius, fill)

    def ring(
        self, x0: float, y0: float, x1: float, y1: float, colour: Colour, width: float
    ) -> None:
        self._draw.ellipse(self._box(x0, y0, x1, y1), outline=colour, width=round(width * _SCALE))

    def arc(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        start: float,
        end: float,
        colour: Colour,
        width: float,
    ) -> None:
        self._draw.arc(
            self._box(x0, y0, x1, y1), start, end, fill=colour, width=round(width * _SCALE)
        )

    def chord(
        self, x0: float, y0: float, x1: float, y1: float, start: float, end: float, fill: Colour
    ) -> None:
        self._draw.chord(self._box(x0, y0, x1, y1), start, end, fill=fill)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        self._draw.rectangle(self._box(x0, y0, x1, y1), fill=fill)

    def rounded(
        self, x0: float, y0: float, x1: float, y1: float, radius: float, fill: Colour
    ) -> None:
        self._draw.rounded_rectangle(self._box(x0, y0, x1, y1), radius=radius * _SCALE, fill=fill)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self._draw.polygon([self._at(*point) for point in points], fill=fill)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        self._draw.line(
            [self._at(*point) for point in points],
            fill=colour,
            width=max(1, round(width * _SCALE)),
            joint="curve",
        )

    def image(self) -> Image.Image:
        """Return the finished picture at its final size."""
        return self._image.reduce(_SCALE)
