"""Drawings of the embedded world's portraits: 64 x 64 pixels, antialiased by drawing four times
larger.

Clothes, hat and person are drawn by separate functions, so a dark-skinned old woman who is a doctor
is as well drawn as anybody else. The cues of each attribute are conventions of this small drawn
world (long hair, lipstick, a beard, grey hair), not statements about people.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from PIL import Image

from fairgen.portraits.dresses import draw_dress
from fairgen.portraits.hats import draw_hat
from fairgen.portraits.pen import Colour, Pen, shade
from fairgen.portraits.things import draw_thing
from fairgen.portraits.world import Portrait, sample_portrait

SIZE_PX = 64

SKIN: dict[str, Colour] = {
    "light": (246, 214, 188),
    "tan": (216, 164, 116),
    "brown": (160, 104, 66),
    "dark": (88, 56, 40),
}
LIPS: dict[str, Colour] = {
    "light": (206, 54, 74),
    "tan": (196, 44, 64),
    "brown": (186, 32, 58),
    "dark": (204, 40, 72),
}
_DARK_HAIR: tuple[Colour, ...] = ((28, 22, 22), (52, 34, 24), (78, 48, 30))
_FAIR_HAIR: tuple[Colour, ...] = ((222, 180, 92), (170, 84, 40), (120, 76, 42))
_GREY_HAIR: tuple[Colour, ...] = ((222, 222, 224), (200, 202, 206), (236, 234, 228))
_WALLS: tuple[Colour, ...] = (
    (214, 230, 242),
    (240, 228, 208),
    (222, 238, 218),
    (242, 220, 224),
    (228, 222, 242),
    (236, 236, 230),
)


def draw(portrait: Portrait, rng: random.Random) -> Image.Image:
    """Return the picture of a portrait; `rng` varies wall, hair, pose and details that no attribute
    names.
    """
    return _draw_before(rng.choice(_WALLS), portrait, rng)


def draw_side_by_side(portraits: Sequence[Portrait], rng: random.Random) -> Image.Image:
    """Return one picture of several portraits before the same wall, the first one on the left."""
    wall = rng.choice(_WALLS)
    picture = Image.new("RGB", (SIZE_PX * len(portraits), SIZE_PX))
    for index, portrait in enumerate(portraits):
        picture.paste(_draw_before(wall, portrait, rng), (SIZE_PX * index, 0))
    return picture


def _draw_before(wall: Colour, portrait: Portrait, rng: random.Random) -> Image.Image:
    pen = Pen(SIZE_PX, wall)
    if not portrait.is_person:
        draw_thing(pen, portrait.concept, rng)
        return pen.image()
    pen.move(rng.uniform(-1.2, 1.2), rng.uniform(-0.6, 1.0))
    pen.disc(32, 30, 30, shade(wall, 1.035))
    _draw_person(pen, portrait, rng)
    return pen.image()


def draw_all(
    concept: str, categories: Sequence[Mapping[str, str]], rng: random.Random
) -> list[Image.Image]:
    """Return a picture of the concept for each choice of categories; the rest is as planted."""
    return [draw(replace(sample_portrait(rng, concept), **chosen), rng) for chosen in categories]


def _draw_person(pen: Pen, portrait: Portrait, rng: random.Random) -> None:
    skin = SKIN[portrait.skin]
    hair = _hair_colour(portrait, rng)
    woman = portrait.gender == "woman"
    wide = rng.uniform(0.97, 1.03)
    if woman:
        _long_hair_behind(pen, hair, rng)
    draw_dress(pen, portrait.concept, rng, skin)
    _head(pen, skin, woman, wide)
    _face(pen, portrait, skin, hair, rng)
    _hair_in_front(pen, portrait, hair, rng)
    draw_hat(pen, portrait.concept)
    if portrait.glasses == "with":
        _glasses(pen, skin)


def _hair_colour(portrait: Portrait, rng: random.Random) -> Colour:
    if portrait.age == "old":
        return rng.choice(_GREY_HAIR)
    fair = portrait.skin in ("light", "tan")
    return rng.choice(_DARK_HAIR + _FAIR_HAIR if fair else _DARK_HAIR)


def _long_hair_behind(pen: Pen, hair: Colour, rng: random.Random) -> None:
    length = rng.uniform(47, 52)
    pen.ellipse(17.5, 12, 46.5, 42, hair)
    pen.polygon(
        [
            (17.5, 26),
            (46.5, 26),
            (48.5, length),
            (43, length + 2),
            (21, length + 2),
            (15.5, length),
        ],
        hair,
    )


def _head(pen: Pen, skin: Colour, woman: bool, wide: float) -> None:
    neck = 4.2 if woman else 5.8
    pen.polygon(
        [(32 - neck, 36), (32 + neck, 36), (32 + neck, 48), (32, 51), (32 - neck, 48)],
        shade(skin, 0.86),
    )
    half = (10.4 if woman else 11.2) * wide
    for side in (-1, 1):
        pen.disc(32 + side * half, 29.5, 2.3, shade(skin, 0.92))
    if woman:
        pen.ellipse(32 - half, 14.5, 32 + half, 42.5, skin)
    else:
        pen.ellipse(32 - half, 14.5, 32 + half, 39, skin)
        pen.rounded(32 - half * 0.9, 27, 32 + half * 0.9, 42.6, 6.5, skin)


def _face(pen: Pen, portrait: Portrait, skin: Colour, hair: Colour, rng: random.Random) -> None:
    woman, old = portrait.gender == "woman", portrait.age == "old"
    if not woman and rng.random() < 0.7:
        _beard(pen, hair, rng)
    brow = shade(hair, 0.8) if old else shade(hair, 0.7)
    gaze = rng.uniform(-0.4, 0.4)
    for side in (-1, 1):
        x = 32 + side * 4.7
        pen.ellipse(x - 2.3, 26.8, x + 2.3, 30.4, (252, 252, 250))
        pen.disc(x + gaze, 28.7, 1.45, (38, 28, 26))
        if woman:
            pen.line([(x - 2.4, 27.6), (x, 26.4), (x + 2.4, 27.6)], (24, 18, 20), 0.8)
            pen.line([(x + side * 2.2, 27.6), (x + side * 3.5, 26.2)], (24, 18, 20), 0.7)
            pen.line([(x - 2.4, 24.3), (x, 23.5), (x + 2.4, 24.3)], brow, 0.7)
        else:
            pen.line([(x - 2.8, 24.8), (x, 23.9), (x + 2.8, 24.8)], brow, 1.5)
    pen.line([(32, 30), (31.3, 33), (32.8, 33.4)], shade(skin, 0.72), 0.9)
    smile = rng.uniform(0.2, 1.1)
    if woman:
        lips = LIPS[portrait.skin]
        pen.polygon(
            [
                (28.4, 36.4),
                (30.6, 35.7),
                (32, 36.1),
                (33.4, 35.7),
                (35.6, 36.4),
                (32, 38.4 + smile * 0.5),
            ],
            lips,
        )
        for side in (-1, 1):
            pen.disc(32 + side * 7.2, 33.2, 1.7, _blend(skin, (226, 92, 96), 0.28))
    else:
        pen.line([(28.6, 36.4), (32, 36.9 + smile), (35.4, 36.4)], (112, 42, 40), 1.1)
    if old:
        _wrinkles(pen, shade(skin, 0.7))


def _blend(a: Colour, b: Colour, t: float) -> Colour:
    return tuple(round(x + (y - x) * t) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _beard(pen: Pen, hair: Colour, rng: random.Random) -> None:
    style = rng.random()
    if style < 0.65:
        pen.chord(21.6, 26, 42.4, 44.6, 12, 168, hair)
        pen.ellipse(27.8, 34.6, 36.2, 38.8, shade(hair, 0.9))
    else:
        pen.polygon(
            [(27.4, 36), (32, 33.8), (36.6, 36), (36.2, 36.6), (32, 35.4), (27.8, 36.6)], hair
        )


def _wrinkles(pen: Pen, colour: Colour) -> None:
    for side in (-1, 1):
        pen.line([(32 + side * 4.6, 33.2), (32 + side * 6.0, 36.8)], colour, 0.8)
        pen.line([(32 + side * 3.2, 31.4), (32 + side * 6.4, 31.7)], colour, 0.6)
        pen.line([(32 + side * 8.0, 27.4), (32 + side * 9.4, 26.6)], colour, 0.6)
    pen.line([(27.5, 21.4), (36.5, 21.4)], colour, 0.6)


def _hair_in_front(pen: Pen, portrait: Portrait, hair: Colour, rng: random.Random) -> None:
    if portrait.gender == "woman":
        part = rng.uniform(-3, 3)
        pen.chord(20, 11.5, 44, 34, 180, 360, hair)
        skin = SKIN[portrait.skin]
        pen.polygon(
            [
                (32 + part, 17.2),
                (40.6, 24.5),
                (41.2, 23.5),
                (32 + part, 23),
                (22.8, 23.5),
                (23.4, 24.5),
            ],
            skin,
        )
        for side in (-1, 1):
            edge = 32 + side * 11.4
            pen.polygon(
                [
                    (32 + side * 9.2, 18.5),
                    (edge, 20),
                    (32 + side * 14.2, 26),
                    (32 + side * 13.8, 44),
                    (32 + side * 10.2, 42),
                    (32 + side * 10.4, 27),
                ],
                hair,
            )
        pen.line([(32 + part, 12.2), (32 + part, 16.8)], shade(hair, 0.82), 0.6)
        return
    pen.chord(20.2, 11.5, 43.8, 32, 180, 360, hair)
    skin = SKIN[portrait.skin]
    pen.rounded(23.2, 18.6, 40.8, 27, 3, skin) if rng.random() < 0.5 else pen.ellipse(
        22.8, 17.4, 41.2, 30, skin
    )
    _restore_brows(pen, portrait, hair)
    for side in (-1, 1):
        pen.polygon(
            [
                (32 + side * 11.9, 20),
                (32 + side * 10.2, 21),
                (32 + side * 10.6, 27.5),
                (32 + side * 11.8, 27),
            ],
            hair,
        )


def _restore_brows(pen: Pen, portrait: Portrait, hair: Colour) -> None:
    old = portrait.age == "old"
    for side in (-1, 1):
        x = 32 + side * 4.7
        pen.line(
            [(x - 2.8, 24.8), (x, 23.9), (x + 2.8, 24.8)], shade(hair, 0.8 if old else 0.7), 1.5
        )
        pen.ellipse(x - 2.3, 26.8, x + 2.3, 30.4, (252, 252, 250))
        pen.disc(x, 28.7, 1.45, (38, 28, 26))
    if old:
        pen.line([(27.5, 21.4), (36.5, 21.4)], shade(SKIN[portrait.skin], 0.7), 0.6)


def _glasses(pen: Pen, skin: Colour) -> None:
    frame = (26, 26, 40) if sum(skin) > 330 else (236, 196, 70)
    for side in (-1, 1):
        x = 32 + side * 4.9
        pen.ring(x - 3.9, 25.0, x + 3.9, 32.4, frame, 1.1)
        pen.line([(32 + side * 8.8, 28), (32 + side * 11.2, 27.4)], frame, 1.0)
    pen.line([(30.9, 28), (33.1, 28)], frame, 1.1)
