"""The Monk Skin Tone scale: which of its ten steps is nearest to a face's colour in a picture.

It measures pixels. The same face has another step under other light, white balance or make-up.
Source: Monk, The Monk Skin Tone Scale (2019), the ten published swatches in sRGB.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]

MONK_SWATCHES = (
    *("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96"),
    *("a07e56", "825c43", "604134", "3a312a", "292420"),
)
# cheeks and forehead of a face whose eyes lie where dlib's chips have them with a padding of 0.2:
# left, top, right and bottom as shares of the chip
_SKIN = ((0.22, 0.44, 0.38, 0.58), (0.62, 0.44, 0.78, 0.58), (0.36, 0.13, 0.64, 0.21))
_GREY_CHROMA = 2.0  # below that of every swatch: a picture without colours shows no skin tone
_FAR = 30.0  # photographed skin lies up to 23 from its swatch, a face in blue light 34
_RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE_D65 = _RGB_TO_XYZ.sum(1)


def lab(srgb: NDArray[np.integer] | Array) -> Array:
    """Return CIELAB values under D65 of sRGB values from 0 to 255, ... x 3.

    Source: IEC 61966-2-1 for the way to XYZ, CIE 15 for that to L*, a* and b*.
    """
    values = np.asarray(srgb, float) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _RGB_TO_XYZ.T / _WHITE_D65
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


_SWATCHES_LAB = lab(np.array([list(bytes.fromhex(swatch)) for swatch in MONK_SWATCHES]))


def monk_step(skin: Pixels) -> int | None:
    """Return the step, 1 to 10, whose swatch is nearest to the median colour of skin, N x 3 pixels.

    The brightest and the darkest quarter are left out: highlights and shadows. None where the
    colour is grey, or far from every swatch, as under coloured light.
    """
    colours = lab(skin)
    low, high = np.quantile(colours[:, 0], [0.25, 0.75])
    middle = colours[(colours[:, 0] >= low) & (colours[:, 0] <= high)]
    colour = np.median(middle, axis=0)
    distances = np.linalg.norm(_SWATCHES_LAB - colour, axis=1)
    if np.hypot(*colour[1:]) < _GREY_CHROMA or distances.min() > _FAR:
        return None
    return int(distances.argmin()) + 1


class SkinToneReader:
    """Reads the Monk scale from the cheeks and the forehead of aligned faces."""

    size_px = 128

    def answers(self, chips: Sequence[Pixels]) -> Tensor:
        """Return 1 at the step of each face and 0 elsewhere, N x 10; 0 everywhere where there is
        none.
        """
        table = torch.zeros(len(chips), len(MONK_SWATCHES))
        for row, chip in zip(table, chips, strict=True):
            step = monk_step(skin_pixels(chip))
            if step is not None:
                row[step - 1] = 1
        return table


def skin_pixels(chip: Pixels) -> Pixels:
    """Return the pixels, N x 3, of the cheeks and the forehead of an aligned face, S x S x 3."""
    size = len(chip)
    boxes = ([round(size * share) for share in box] for box in _SKIN)
    patches = [chip[top:bottom, left:right].reshape(-1, 3) for left, top, right, bottom in boxes]
    return np.concatenate(patches)
