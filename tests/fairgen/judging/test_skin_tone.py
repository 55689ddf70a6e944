"""The Monk scale against its own swatches and colours whose CIELAB values are published."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fairgen.judging.skin_tone import MONK_SWATCHES, SkinToneReader, lab, monk_step, skin_pixels

SWATCHES = np.array([list(bytes.fromhex(swatch)) for swatch in MONK_SWATCHES], np.uint8)


def skin(colour: NDArray[np.uint8], num_pixels: int = 400) -> NDArray[np.uint8]:
    return np.tile(colour, (num_pixels, 1))


def lit(colours: NDArray[np.uint8], gains: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Return colours under other light: the linear channels times `gains`."""
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    linear = np.minimum(linear * gains, 1)
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * back).astype(np.uint8)


def test_lab_values_are_the_published_ones_of_srgb_s_corners() -> None:
    """Lindbloom's calculator, sRGB, D65, 2 degrees."""
    published = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (119, 119, 119): (50.03, 0, 0),
    }
    found = lab(np.array(list(published)))
    np.testing.assert_allclose(found, np.array(list(published.values())), atol=0.02)


def test_every_swatch_is_its_own_step() -> None:
    assert [monk_step(skin(colour)) for colour in SWATCHES] == list(range(1, 11))


def test_lightness_alone_does_not_order_the_scale() -> None:
    """The third swatch is lighter than the second, and yellower: no ruler of lightness."""
    lightness, _, yellow = lab(SWATCHES).T
    assert lightness[2] > lightness[1] and yellow[2] > yellow[1]
    assert (np.diff(np.delete(lightness, 2)) < 0).all()


def test_highlights_and_shadows_of_a_quarter_each_change_nothing() -> None:
    for step in (4, 6, 8):
        colours = skin(SWATCHES[step - 1])
        colours[:95], colours[95:190] = 255, 0
        assert monk_step(colours) == step
    shaded = skin(SWATCHES[5])
    shaded[:96], shaded[96:192] = 255, 0
    shaded[192:275] = 132  # as light as the skin, and grey: with black and white it were the most
    assert monk_step(shaded) == 6


def test_the_light_changes_the_step() -> None:
    """Half of the light makes a face two steps darker: it is a measure of pixels."""
    assert monk_step(skin(lit(SWATCHES[4], (0.5, 0.5, 0.5)))) == 6
    assert monk_step(skin(lit(SWATCHES[5], (0.5, 0.5, 0.5)))) == 7
    assert monk_step(skin(lit(SWATCHES[7], (2, 2, 2)))) == 7


def test_other_white_points_move_steps_and_coloured_light_has_none() -> None:
    """D50 as a camera would leave it, a lamp of 2,700 K half corrected, and a blue stage light."""
    daylight = [monk_step(skin(lit(colour, (1.06, 1, 0.76)))) for colour in SWATCHES]
    lamp = [monk_step(skin(lit(colour, (1.3, 1, 0.5)))) for colour in SWATCHES]
    assert daylight != list(range(1, 11)) and daylight[4:9] == [5, 6, 7, 8, 9]
    assert lamp[0] == 4  # the lightest swatch
    assert monk_step(skin(lit(SWATCHES[4], (0.6, 0.5, 1.6)))) is None


@pytest.mark.parametrize("grey", [20, 60, 128, 200, 245])
def test_a_picture_without_colours_has_no_step(grey: int) -> None:
    assert monk_step(skin(np.full(3, grey, np.uint8))) is None


def test_skin_is_read_from_cheeks_and_forehead_only() -> None:
    """Eyes, nose, mouth and what is around the face may have any colour."""
    chip = np.zeros((128, 128, 3), np.uint8)
    chip[..., 2] = 255
    for left, top, right, bottom in ((28, 56, 49, 74), (79, 56, 100, 74), (46, 17, 82, 27)):
        chip[top:bottom, left:right] = SWATCHES[5]
    assert (skin_pixels(chip) == SWATCHES[5]).all()
    blue = np.full_like(chip, (0, 0, 255))
    table = SkinToneReader().answers([chip, blue])
    assert table.shape == (2, 10) and table[0].argmax() == 5
    assert torch.equal(table.sum(1), torch.tensor([1.0, 0.0]))
