"""The clothes of each occupation: one dress, the same for everybody who has the job."""

import random
from collections.abc import Callable

from fairgen.portraits.pen import BLACK, GOLD, NAVY, RED, SILVER, WHITE, Colour, Pen, shade

_TORSO = [(6, 66), (7.5, 56), (13, 50.5), (25, 46.5), (39, 46.5), (51, 50.5), (56.5, 56), (58, 66)]


def draw_dress(pen: Pen, concept: str, rng: random.Random, skin: Colour) -> None:
    """Draw the clothes below the neck; the plain shirt of a "person" is coloured by `rng`."""
    if concept == "person":
        shirt = rng.choice(
            ((196, 70, 70), (70, 120, 196), (90, 160, 100), (220, 180, 80), (150, 96, 170))
        )
        pen.polygon(_TORSO, shirt)
        pen.chord(24, 40, 40, 53, 0, 180, shade(skin, 0.86))
        return
    _DRESSES[concept](pen, skin)


def _collar(pen: Pen, colour: Colour) -> None:
    pen.polygon([(25, 46), (32, 56), (23.5, 54)], colour)
    pen.polygon([(39, 46), (32, 56), (40.5, 54)], colour)


def _lapels(pen: Pen, coat: Colour, shirt: Colour) -> None:
    pen.polygon(_TORSO, coat)
    pen.polygon([(25, 46.5), (39, 46.5), (34, 66), (30, 66)], shirt)
    pen.polygon([(25, 46.5), (22, 53), (30, 66), (31, 66)], shade(coat, 0.88))
    pen.polygon([(39, 46.5), (42, 53), (34, 66), (33, 66)], shade(coat, 0.88))


def _tie(pen: Pen, colour: Colour) -> None:
    pen.polygon([(30.3, 48.5), (33.7, 48.5), (33, 52), (34.4, 66), (29.6, 66), (31, 52)], colour)


def _bands(pen: Pen, colour: Colour, *heights: float) -> None:
    for y in heights:
        pen.rectangle(8.5, y, 55.5, y + 2.4, colour)


def _doctor(pen: Pen, skin: Colour) -> None:
    _lapels(pen, WHITE, (112, 176, 226))
    pen.arc(22, 38, 42, 62, 20, 160, (60, 66, 80), 1.6)
    pen.disc(41, 58, 2.8, (60, 66, 80))
    pen.disc(41, 58, 1.4, SILVER)


def _nurse(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (64, 182, 176))
    pen.polygon([(26, 46.5), (38, 46.5), (32, 57)], shade(skin, 0.86))
    pen.rectangle(43, 54, 50, 61, WHITE)
    pen.rectangle(45.8, 55, 47.2, 60, RED)
    pen.rectangle(44, 56.8, 49, 58.2, RED)


def _judge(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, BLACK)
    pen.polygon([(14, 50), (20, 48.2), (25, 66), (18, 66)], RED)
    pen.polygon([(50, 50), (44, 48.2), (39, 66), (46, 66)], RED)
    pen.polygon([(28, 47), (36, 47), (38, 63), (32.4, 60), (26, 63)], WHITE)
    pen.line([(50, 66), (44, 55)], (150, 96, 54), 2.2)
    pen.polygon([(38.5, 55.5), (47.5, 50.5), (49.8, 54.6), (40.8, 59.6)], (176, 112, 60))
    pen.line([(40.6, 54.3), (42.9, 58.4)], GOLD, 1.2)
    pen.line([(45.4, 51.6), (47.7, 55.7)], GOLD, 1.2)


def _firefighter(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (58, 52, 50))
    _bands(pen, (236, 226, 70), 55, 61)
    pen.rectangle(30.6, 48, 33.4, 66, SILVER)


def _police(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (52, 76, 132))
    _collar(pen, (36, 56, 104))
    _tie(pen, BLACK)
    pen.disc(44, 56, 3.2, GOLD)


def _chef(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, WHITE)
    pen.polygon([(24, 46), (40, 46), (36, 52), (32, 56), (28, 52)], RED)
    for y in (57, 62):
        for x in (27, 37):
            pen.disc(x, y, 1.1, (90, 90, 96))
    pen.line([(40, 52), (37, 66)], (206, 206, 212), 0.8)


def _farmer(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (196, 64, 56))
    for x in range(10, 58, 6):
        pen.line([(x, 50), (x, 66)], (150, 40, 40), 0.9)
    _bands(pen, (226, 128, 110), 52)
    pen.rectangle(23, 55, 41, 66, (66, 104, 164))
    for left in (22.0, 37.5):
        strap = [(left, 47.5), (left + 4, 47.5), (left + 4.5, 57), (left + 0.5, 57)]
        pen.polygon(strap, (66, 104, 164))
        pen.disc(left + 2.3, 57, 1.2, GOLD)


def _builder(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (250, 132, 30))
    pen.polygon([(26, 46.5), (38, 46.5), (32, 58)], (90, 104, 120))
    for x in (17, 43):
        pen.rectangle(x, 48.8, x + 4, 66, (244, 242, 150))
    _bands(pen, (244, 242, 150), 60)


def _pilot(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (238, 242, 248))
    _collar(pen, WHITE)
    _tie(pen, BLACK)
    for x in (10, 44):
        pen.polygon([(x, 53), (x + 10, 50), (x + 10, 54), (x, 57)], NAVY)
        pen.line([(x + 3, 52.6), (x + 3, 55.8)], GOLD, 1.2)
        pen.line([(x + 6, 51.8), (x + 6, 55)], GOLD, 1.2)


def _astronaut(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (240, 242, 246))
    pen.ellipse(17, 44, 47, 54, (238, 112, 40))
    pen.ellipse(21, 44, 43, 51, (90, 98, 112))
    pen.rectangle(38, 57, 48, 63, (60, 110, 190))
    pen.disc(20, 60, 2.4, RED)


def _teacher(pen: Pen, skin: Colour) -> None:
    _lapels(pen, (134, 86, 160), (250, 236, 190))
    pen.disc(47, 58, 4.6, (214, 50, 44))
    pen.line([(47, 54), (48.6, 51.4)], (96, 66, 36), 1.2)
    pen.ellipse(48, 51.2, 52, 53.4, (90, 160, 70))


def _soldier(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (112, 124, 74))
    for x, y, r in ((15, 57, 4), (26, 60, 4.4), (41, 56, 4.4), (50, 62, 4), (33, 52, 2.6)):
        pen.ellipse(x - r, y - r * 0.6, x + r, y + r * 0.6, (72, 84, 48))
    for x, y, r in ((20, 63, 3), (46, 58, 2.6), (12, 62, 2.4), (34, 64, 3)):
        pen.ellipse(x - r, y - r * 0.6, x + r, y + r * 0.6, (160, 146, 100))


def _sailor(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, WHITE)
    pen.polygon(
        [(25, 46.5), (14, 50), (18, 58), (32, 62), (46, 58), (50, 50), (39, 46.5), (32, 57)],
        (46, 92, 176),
    )
    pen.polygon([(26, 47), (38, 47), (32, 57)], shade(skin, 0.86))
    pen.line([(16, 52), (20, 56.6), (32, 60), (44, 56.6), (48, 52)], WHITE, 1)
    pen.polygon([(29, 57), (35, 57), (34, 66), (30, 66)], RED)


def _magician(pen: Pen, skin: Colour) -> None:
    _lapels(pen, BLACK, WHITE)
    pen.polygon([(32, 50), (25.5, 46.8), (25.5, 53.4)], (170, 60, 190))
    pen.polygon([(32, 50), (38.5, 46.8), (38.5, 53.4)], (170, 60, 190))
    pen.line([(46, 64), (54, 50)], WHITE, 1.8)


def _rancher(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (232, 212, 170))
    pen.polygon([(12, 51), (24, 47), (27, 66), (12, 66)], (124, 78, 44))
    pen.polygon([(52, 51), (40, 47), (37, 66), (52, 66)], (124, 78, 44))
    pen.polygon([(22, 46), (42, 46), (32, 59)], (200, 40, 50))
    for x, y in ((28, 49), (36, 49), (32, 53)):
        pen.disc(x, y, 0.8, WHITE)


def _artist(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (232, 224, 206))
    for x, y, colour in (
        (16, 57, RED),
        (24, 62, (60, 120, 200)),
        (40, 55, GOLD),
        (49, 60, (80, 170, 90)),
        (33, 60, (170, 80, 180)),
    ):
        pen.disc(x, y, 2.4, colour)
    pen.polygon([(24, 46), (40, 46), (32, 52)], (60, 74, 120))


def _athlete(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, shade(skin, 0.95))
    pen.polygon(
        [(16, 49.5), (25, 46.5), (29, 52), (35, 52), (39, 46.5), (48, 49.5), (49, 66), (15, 66)],
        (220, 48, 56),
    )
    pen.rectangle(30, 55.5, 34, 66, WHITE)
    pen.rectangle(28, 57, 31, 59, WHITE)


def _dancer(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, shade(skin, 0.95))
    pen.polygon(
        [(18, 57), (25, 60), (32, 57), (39, 60), (46, 57), (48, 66), (16, 66)], (244, 132, 178)
    )
    for x in (20, 42):
        pen.line([(x, 48), (x + 1, 59)], (244, 132, 178), 1.6)


def _scientist(pen: Pen, skin: Colour) -> None:
    _lapels(pen, (244, 246, 250), (70, 74, 90))
    pen.polygon([(44, 50), (48, 50), (48, 54), (52.5, 62), (39.5, 62), (44, 54)], (206, 240, 214))
    pen.polygon([(43, 56.5), (49, 56.5), (52.5, 62), (39.5, 62)], (64, 196, 92))


def _mechanic(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (72, 108, 168))
    _collar(pen, (54, 84, 138))
    pen.rectangle(31, 54, 33, 66, SILVER)
    pen.line([(17, 64), (24, 54)], (128, 134, 144), 2.4)
    pen.ring(21.5, 49, 27.5, 55, (128, 134, 144), 2)


def _receptionist(pen: Pen, skin: Colour) -> None:
    _lapels(pen, (176, 44, 96), (252, 232, 236))
    pen.polygon([(28, 47), (36, 47), (40, 55), (32, 51), (24, 55)], (252, 200, 70))


def _executive(pen: Pen, skin: Colour) -> None:
    _lapels(pen, (66, 70, 84), WHITE)
    _tie(pen, RED)
    pen.polygon([(42, 54), (48, 53), (46, 57)], RED)


def _barista(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (246, 240, 226))
    pen.polygon([(22, 52), (42, 52), (46, 66), (18, 66)], (34, 112, 74))
    for x in (21, 40):
        pen.line([(x + 1.5, 47.5), (x + 1.5, 54)], (34, 112, 74), 2.2)
    pen.rectangle(29, 57, 35, 63, WHITE)
    pen.arc(33, 58, 38, 62, 270, 90, WHITE, 1)


def _cleaner(pen: Pen, skin: Colour) -> None:
    pen.polygon(_TORSO, (250, 222, 110))
    pen.polygon([(24, 54), (40, 54), (44, 66), (20, 66)], (110, 180, 226))
    pen.polygon([(25, 46.5), (39, 46.5), (32, 53)], WHITE)


_DRESSES: dict[str, Callable[[Pen, Colour], None]] = {
    "doctor": _doctor,
    "nurse": _nurse,
    "judge": _judge,
    "firefighter": _firefighter,
    "police officer": _police,
    "chef": _chef,
    "farmer": _farmer,
    "builder": _builder,
    "pilot": _pilot,
    "astronaut": _astronaut,
    "teacher": _teacher,
    "soldier": _soldier,
    "sailor": _sailor,
    "magician": _magician,
    "rancher": _rancher,
    "artist": _artist,
    "athlete": _athlete,
    "dancer": _dancer,
    "scientist": _scientist,
    "mechanic": _mechanic,
    "receptionist": _receptionist,
    "executive": _executive,
    "barista": _barista,
    "cleaner": _cleaner,
}
