"""Pictures without people: a car, a tree, a house, a boat."""

import random

from fairgen.portraits.pen import Colour, Pen, shade

_PAINTS: tuple[Colour, ...] = (
    (206, 52, 48),
    (52, 96, 190),
    (240, 186, 40),
    (60, 150, 92),
    (150, 82, 168),
)


def draw_thing(pen: Pen, thing: str, rng: random.Random) -> None:
    """Draw one thing on its ground, coloured and placed by `rng`."""
    paint = rng.choice(_PAINTS)
    dx = rng.uniform(-3, 3)
    match thing:
        case "car":
            pen.rectangle(0, 48, 64, 64, (128, 130, 136))
            pen.move(dx, 0)
            pen.polygon([(18, 36), (25, 25), (42, 25), (49, 36)], paint)
            pen.polygon([(21.5, 35), (26.5, 27.5), (32, 27.5), (32, 35)], (206, 232, 246))
            pen.polygon([(34, 35), (34, 27.5), (40.5, 27.5), (45.5, 35)], (206, 232, 246))
            pen.rounded(9, 35, 56, 48, 4, paint)
            for x in (20, 45):
                pen.disc(x, 48, 5.6, (36, 36, 40))
                pen.disc(x, 48, 2.4, (196, 198, 204))
            pen.disc(54, 40, 1.7, (255, 240, 170))
        case "tree":
            pen.rectangle(0, 52, 64, 64, (134, 178, 96))
            pen.move(dx, 0)
            pen.rectangle(28.5, 34, 35.5, 56, (118, 78, 46))
            leaves = rng.choice(((70, 140, 70), (96, 160, 62), (46, 116, 76)))
            for x, y, r in ((32, 20, 13), (21, 28, 9.5), (43, 28, 9.5), (32, 31, 10)):
                pen.disc(x, y, r, leaves)
            for x, y in ((26, 18), (37, 24), (30, 30)):
                pen.disc(x, y, 3, shade(leaves, 1.2))
        case "house":
            pen.rectangle(0, 52, 64, 64, (134, 178, 96))
            pen.move(dx, 0)
            pen.rectangle(15, 30, 49, 55, (246, 230, 200))
            pen.polygon([(10, 31), (32, 11), (54, 31)], paint)
            pen.rectangle(28, 40, 36, 55, (120, 76, 48))
            for left in (18.5, 39.5):
                pen.rectangle(left, 36, left + 6.5, 43, (130, 190, 226))
        case "boat":
            pen.rectangle(0, 44, 64, 64, (82, 150, 204))
            pen.move(dx, 0)
            pen.rectangle(30.6, 10, 32.2, 44, (110, 76, 50))
            pen.polygon([(33, 11), (33, 38), (52, 38)], (252, 250, 244))
            pen.polygon([(29.8, 16), (29.8, 38), (17, 38)], shade(paint, 1.1))
            pen.polygon([(10, 42), (55, 42), (48, 53), (17, 53)], paint)
            pen.line([(0, 58), (10, 57), (20, 58), (30, 57), (40, 58)], (190, 222, 244), 1)
        case _:
            raise ValueError(f"thing: got {thing!r}, allowed are car, tree, house, boat")
