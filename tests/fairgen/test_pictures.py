"""A grid shows every picture, in its place, with its words."""

import numpy as np
from PIL import Image

from fairgen.pictures import Block, opaque, picture_grid

SIDE_PX = 40
RED, BLUE = (200, 0, 0), (0, 0, 200)


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGB", size, colour)


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == colour).all(-1).sum())


def test_every_picture_is_shown_whole_and_blocks_of_a_column_stand_below_each_other() -> None:
    rows = [
        [Block([plain(RED)] * 3, "doctor"), Block([plain(BLUE)] * 2)],
        [Block([plain(RED)], "nurse"), Block([plain(BLUE)] * 2)],
    ]
    sheet = picture_grid(rows, ["off", "on"], SIDE_PX)
    assert count(sheet, RED) == 4 * SIDE_PX**2 and count(sheet, BLUE) == 4 * SIDE_PX**2
    red, blue = ((np.asarray(sheet) == colour).all(-1) for colour in (RED, BLUE))
    assert red.any(0).nonzero()[0].max() < blue.any(0).nonzero()[0].min()


def test_wide_pictures_keep_their_shape_and_captions_take_room_below() -> None:
    rows = [[Block([plain(RED, (80, 20))])]]
    bare = picture_grid(rows, side_px=SIDE_PX)
    assert count(bare, RED) == SIDE_PX * SIDE_PX // 4
    captioned = picture_grid([[Block([plain(RED)], captions=["woman\nold"])]], side_px=SIDE_PX)
    below = np.asarray(captioned.convert("L"))[bare.height - 8 :]
    assert captioned.height > bare.height and (below < 128).any()


def test_what_nobody_sees_of_a_transparent_picture_is_white() -> None:
    picture = plain(RED)
    picture.putalpha(Image.fromarray(np.uint8([[255] * 4 + [0] * 4] * 8)))
    assert np.array_equal(np.asarray(opaque(picture))[0, ::4], [RED, (255, 255, 255)])
    assert opaque(plain(RED)).tobytes() == plain(RED).tobytes()
    assert count(picture_grid([[Block([picture])]], side_px=8), RED) == 32
