"""What each occupation wears: one dress and, for most, one hat, the same for everybody who has the
job.
"""

import random
from collections.abc import Callable

from fairgen.portraits.pen import Colour, Pen, shade

WHITE: Colour = (250, 250, 250)
BLACK: Colour = (34, 34, 40)
NAVY: Colour = (34, 50, 96)
GOLD: Colour = (240, 192, 60)
RED: Colour = (206, 44, 44)
SILVER: Colour = (206, 212, 220)

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


def draw_hat(pen: Pen, concept: str, rng: random.Random) -> None:
    """Draw what is worn on the head, over the hair; nothing where the job has no hat."""
    if concept in _HATS:
        _HATS[concept](pen)


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


def _head_mirror(pen: Pen) -> None:
    pen.polygon([(20.5, 17.5), (43.5, 17.5), (43.2, 20), (20.8, 20)], (70, 76, 90))
    pen.disc(32, 16.5, 4.6, SILVER)
    pen.disc(32, 16.5, 2.6, (246, 250, 254))
    pen.disc(32, 16.5, 0.9, (90, 96, 110))


def _nurse_cap(pen: Pen) -> None:
    pen.polygon([(19.5, 17), (22, 6.5), (42, 6.5), (44.5, 17), (32, 14.5)], WHITE)
    pen.rectangle(30.7, 7.4, 33.3, 14, RED)
    pen.rectangle(28.7, 9.4, 35.3, 12, RED)


def _helmet(pen: Pen, shell: Colour, brim: Colour) -> None:
    pen.chord(19, 4.5, 45, 32, 180, 360, shell)
    pen.rounded(15.5, 16, 48.5, 19.5, 1.7, brim)
    pen.rectangle(30.4, 4.6, 33.6, 16, shade(shell, 0.86))


def _fire_helmet(pen: Pen) -> None:
    _helmet(pen, (214, 36, 36), (176, 24, 28))
    pen.polygon([(27.5, 8), (36.5, 8), (35.5, 15), (32, 17.5), (28.5, 15)], GOLD)


def _peaked_cap(pen: Pen, crown: Colour, band: Colour) -> None:
    pen.polygon([(15.5, 9.5), (23, 4), (41, 4), (48.5, 9.5), (44, 14.5), (20, 14.5)], crown)
    pen.rectangle(20, 13, 44, 16.4, band)
    pen.chord(19, 12, 45, 21, 0, 180, BLACK)


def _police_cap(pen: Pen) -> None:
    _peaked_cap(pen, (40, 60, 116), (24, 34, 70))
    pen.polygon(
        [
            (32, 5),
            (33.3, 8),
            (36, 8.3),
            (34, 10.4),
            (34.6, 13),
            (32, 11.6),
            (29.4, 13),
            (30, 10.4),
            (28, 8.3),
            (30.7, 8),
        ],
        GOLD,
    )


def _pilot_cap(pen: Pen) -> None:
    _peaked_cap(pen, WHITE, NAVY)
    pen.polygon([(32, 8), (42, 7), (36, 11.6), (28, 11.6), (22, 7)], GOLD)


def _toque(pen: Pen) -> None:
    for x, y, r in ((23.5, 8, 6.4), (32, 5.6, 7), (40.5, 8, 6.4)):
        pen.disc(x, y, r, WHITE)
    pen.rectangle(21, 9, 43, 17.5, (244, 244, 248))
    for x in (26, 32, 38):
        pen.line([(x, 10), (x, 17)], (212, 214, 222), 0.8)


def _straw_hat(pen: Pen) -> None:
    pen.ellipse(7, 12.5, 57, 21, (232, 198, 112))
    pen.chord(20, 3.5, 44, 29, 180, 360, (240, 210, 128))
    pen.rectangle(20.2, 13.2, 43.8, 16, (170, 82, 52))


def _hard_hat(pen: Pen) -> None:
    _helmet(pen, (252, 208, 32), (232, 182, 20))


def _space_helmet(pen: Pen) -> None:
    pen.ring(13, 4, 51, 50, (244, 246, 250), 3.6)
    pen.ring(15.6, 6.6, 48.4, 47.6, (160, 172, 190), 1)
    pen.arc(18, 9, 46, 45, 200, 250, WHITE, 1.2)
    for x in (12, 49):
        pen.rounded(x, 25, x + 4, 33, 1.4, (238, 112, 40))


def _soldier_helmet(pen: Pen) -> None:
    pen.chord(18, 5, 46, 33.5, 180, 360, (96, 108, 62))
    pen.rectangle(17.5, 17.4, 46.5, 20, (74, 84, 48))
    for x, y in ((24, 12), (33, 9), (40, 13.4)):
        pen.ellipse(x - 2.8, y - 1.5, x + 2.8, y + 1.5, (148, 140, 94))


def _sailor_cap(pen: Pen) -> None:
    pen.ellipse(18, 4, 46, 15, WHITE)
    pen.polygon([(19, 10), (45, 10), (43.4, 17), (20.6, 17)], (240, 244, 250))
    pen.line([(20.4, 16), (43.6, 16)], (46, 92, 176), 1.8)


def _top_hat(pen: Pen) -> None:
    pen.rectangle(22, 0, 42, 15, BLACK)
    pen.rectangle(22, 10.6, 42, 14, (170, 60, 190))
    pen.rounded(15, 14, 49, 17.6, 1.6, BLACK)


def _ranch_hat(pen: Pen) -> None:
    pen.polygon([(8, 13), (18, 17.4), (46, 17.4), (56, 13), (51, 20.6), (13, 20.6)], (134, 84, 46))
    pen.polygon(
        [(20.5, 17), (22.5, 4), (29, 5), (32, 7), (35, 5), (41.5, 4), (43.5, 17)], (150, 96, 54)
    )
    pen.rectangle(20.8, 14.2, 43.2, 17, (90, 52, 28))


def _beret(pen: Pen) -> None:
    pen.ellipse(14, 5.5, 46, 18.5, (206, 44, 60))
    pen.line([(30, 6), (30.6, 3.2)], (206, 44, 60), 1.6)


def _headband(pen: Pen) -> None:
    pen.polygon([(20.4, 16.4), (43.6, 16.4), (43.8, 20.6), (20.2, 20.6)], WHITE)
    pen.rectangle(20.4, 17.8, 43.6, 19.2, (220, 48, 56))


def _tiara(pen: Pen) -> None:
    pen.polygon(
        [(22, 15.5), (24, 9.5), (28, 12.8), (32, 7), (36, 12.8), (40, 9.5), (42, 15.5)],
        (248, 216, 110),
    )
    pen.disc(32, 12.2, 1.5, (244, 96, 160))


def _goggles(pen: Pen) -> None:
    pen.rectangle(20.4, 15.6, 43.6, 17.8, (50, 54, 64))
    for x in (27, 37):
        pen.ellipse(x - 4.6, 12.4, x + 4.6, 20.6, (50, 54, 64))
        pen.ellipse(x - 3.2, 13.6, x + 3.2, 19.4, (120, 222, 206))


def _work_cap(pen: Pen) -> None:
    pen.chord(20, 6.5, 44, 28, 180, 360, (54, 84, 138))
    pen.polygon([(26, 15.6), (47, 15.6), (52, 18.8), (30, 19)], (40, 62, 108))
    pen.rectangle(28.5, 9.6, 35.5, 13.6, (236, 110, 40))


def _headset(pen: Pen) -> None:
    pen.arc(19, 9.6, 45, 40, 180, 360, BLACK, 1.8)
    for x in (18, 42.6):
        pen.rounded(x, 26, x + 3.6, 33, 1.5, BLACK)
    pen.line([(20, 33), (24, 40), (28, 40.5)], BLACK, 1.2)


def _visor(pen: Pen) -> None:
    pen.polygon([(20.2, 14.4), (43.8, 14.4), (44, 18), (20, 18)], (34, 112, 74))
    pen.chord(17.5, 13.4, 46.5, 22.6, 0, 180, (26, 92, 60))


def _headscarf(pen: Pen) -> None:
    pen.chord(19.6, 7, 44.4, 31, 180, 360, (236, 92, 140))
    pen.polygon([(30, 9), (24, 3), (32, 6), (40, 3), (34, 9)], (236, 92, 140))
    for x, y in ((25, 15), (32, 12), (39, 15)):
        pen.disc(x, y, 1.1, WHITE)


_HATS: dict[str, Callable[[Pen], None]] = {
    "doctor": _head_mirror,
    "nurse": _nurse_cap,
    "firefighter": _fire_helmet,
    "police officer": _police_cap,
    "chef": _toque,
    "farmer": _straw_hat,
    "builder": _hard_hat,
    "pilot": _pilot_cap,
    "astronaut": _space_helmet,
    "soldier": _soldier_helmet,
    "sailor": _sailor_cap,
    "magician": _top_hat,
    "rancher": _ranch_hat,
    "artist": _beret,
    "athlete": _headband,
    "dancer": _tiara,
    "scientist": _goggles,
    "mechanic": _work_cap,
    "receptionist": _headset,
    "barista": _visor,
    "cleaner": _headscarf,
}
