"""What each occupation wears on the head, if anything: the same for everybody who has the job."""

from collections.abc import Callable

from fairgen.portraits.pen import BLACK, GOLD, NAVY, RED, SILVER, WHITE, Colour, Pen, shade


def draw_hat(pen: Pen, concept: str) -> None:
    """Draw what is worn over the hair; nothing where the job has no hat."""
    if concept in _HATS:
        _HATS[concept](pen)


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
