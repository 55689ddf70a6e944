"""An invisible mark that says, and says only, that FairGen has painted a picture.

It is a faint pattern over the whole picture, told by correlation: spread spectrum (Cox, Kilian,
Leighton and Shamoon 1997), made just as strong as its own detector needs (informed embedding;
Miller, Doërr and Cox 2004). The pattern is public, and the same in every picture.
"""

from functools import cache

import numpy
from PIL import Image
from pydantic import BaseModel, ConfigDict
from scipy import fft
from scipy.ndimage import uniform_filter

LEAST_PX = 256
_GRID = 192  # sides of the square that every picture is compared on, whatever its size
_BAND = 30, 96  # half waves across the picture: halving and JPEG leave them, eyes hardly see them
_SEED = 20261129
_WANTED, _FOUND, _FOUND_CROPPED = 12.0, 5.0, 5.5
_AMPLITUDES = 1.0, 6.0  # grey levels
_STEPS = 7
_KEPT = tuple(1 - step / 80 for step in range(17))  # shares of a side that a crop may leave
_PROPORTIONS = 0.026
_LEAST_SEEN_PX, _MOST_SEEN_PX = 96, 1024  # the pattern is too coarse to need more
_OUTLIER = 3.0
_EMPTY = 1e-6

Plane = numpy.ndarray


class MarkingError(RuntimeError):
    """A picture that the mark cannot be seen in again."""


class FoundMark(BaseModel):
    """A mark that was found: `score` counts standard deviations of what other pictures show, and
    `kept` is the share of the picture that is left of width and height.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float
    kept: tuple[float, float]


def check_size(width_px: int, height_px: int) -> None:
    """Raise ValueError for pictures that are too small for a mark that nobody sees."""
    if min(width_px, height_px) < LEAST_PX:
        raise ValueError(
            f"mark: got pictures of {width_px}x{height_px} pixels, allowed are {LEAST_PX} and more "
            "a side"
        )


def marked(image: Image.Image) -> Image.Image:
    """Return a picture with the mark in it, as faint as it can be found again.

    Raises ValueError for a picture that is too small, and MarkingError where it cannot be found.
    """
    check_size(*image.size)
    picture = image.convert("RGB")
    plane = _luma(picture)
    delta = _pattern(*plane.shape) * _visibility(plane)
    plane_NN, delta_NN = _on_grid(plane, _GRID, _GRID), _on_grid(delta, _GRID, _GRID)
    least, most = _AMPLITUDES
    for _ in range(_STEPS):
        middle = (least + most) / 2
        if _aligned_score(plane_NN + middle * delta_NN) < _WANTED:
            least = middle
        else:
            most = middle
    if _aligned_score(plane_NN + _AMPLITUDES[0] * delta_NN) >= _WANTED:
        most = _AMPLITUDES[0]
    pixels = numpy.asarray(picture, dtype=numpy.float64) + (most * delta)[..., None]
    made = Image.fromarray(numpy.clip(numpy.rint(pixels), 0, 255).astype(numpy.uint8))
    if _aligned_score(_on_grid(_luma(made), _GRID, _GRID)) < _FOUND:
        raise MarkingError("a picture could not be marked: its grain hides the mark")
    if image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    return made


def find_mark(image: Image.Image) -> FoundMark | None:
    """Return the mark of a picture that was kept whole, scaled, or cropped by a fifth of each side
    at most in its proportions; None where none is found, and for fewer than 96 pixels a side.
    """
    if min(image.size) < _LEAST_SEEN_PX:
        return None
    if max(image.size) > _MOST_SEEN_PX:
        scale = _MOST_SEEN_PX / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    plane = _luma(image.convert("RGB"))
    score = _aligned_score(_on_grid(plane, _GRID, _GRID))
    if score >= _FOUND:
        return FoundMark(score=round(score, 1), kept=(1.0, 1.0))
    shares = [(w, h) for w in _KEPT for h in _KEPT if abs(w - h) < _PROPORTIONS]
    score, kept = max((_cropped_score(plane, *share), share) for share in shares)
    if score < _FOUND_CROPPED:
        return None
    return FoundMark(score=round(score, 1), kept=kept)


@cache
def _signs() -> Plane:
    """Return the pattern as cosine coefficients, 1 and -1 in the band and 0 beside it."""
    low, high = _BAND
    drawn = numpy.random.default_rng(_SEED).choice([-1.0, 1.0], (high, high))
    waves = numpy.arange(high)
    across = numpy.hypot(waves[:, None], waves[None])
    is_in = (across >= low) & (across < high) & (waves[:, None] > 1) & (waves[None] > 1)
    return drawn * is_in


def _pattern(height: int, width: int) -> Plane:
    """Return the pattern at a size, its standard deviation 1."""
    coefficients = numpy.zeros((height, width))
    rows, columns = min(_BAND[1], height), min(_BAND[1], width)
    coefficients[:rows, :columns] = _signs()[:rows, :columns]
    pattern = fft.idctn(coefficients, norm="ortho")
    return pattern / pattern.std()


@cache
def _pattern_on_grid() -> tuple[Plane, Plane]:
    """Return the pattern's Fourier and cosine coefficients on the grid."""
    pattern = _pattern(_GRID, _GRID)
    return fft.rfft2(pattern), numpy.sign(fft.dctn(pattern, norm="ortho").round(6))


def _luma(image: Image.Image) -> Plane:
    return numpy.asarray(image.convert("L"), dtype=numpy.float64)


def _on_grid(plane: Plane, height: int, width: int) -> Plane:
    resized = Image.fromarray(plane.astype(numpy.float32)).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    return numpy.asarray(resized, dtype=numpy.float64)


def _visibility(plane: Plane) -> Plane:
    """Return how much more than elsewhere a place hides: more where the picture is rough."""
    side = max(3, min(plane.shape) // 32)
    mean = uniform_filter(plane, side)
    rough = numpy.sqrt(numpy.maximum(uniform_filter(plane**2, side) - mean**2, 0))
    hides = numpy.sqrt(1 + rough / (rough.mean() + _EMPTY))
    return hides / hides.mean()


def _whitened(plane: Plane) -> Plane:
    """Return the cosine coefficients of a plane around the band, each frequency as strong as the
    others, so that a picture's own shapes weigh no more than its grain.
    """
    coefficients = fft.dctn(plane - plane.mean(), norm="ortho")
    rows, columns = (numpy.arange(side) * (_GRID / side) for side in plane.shape)
    waves = numpy.hypot(rows[:, None], columns[None])
    ring = (waves / 2).astype(int)
    energy = numpy.bincount(ring.ravel(), (coefficients**2).ravel())
    rms = numpy.sqrt(energy / numpy.maximum(numpy.bincount(ring.ravel()), 1)) + _EMPTY
    near = (waves >= 0.8 * _BAND[0]) & (waves < 1.1 * _BAND[1])
    return numpy.clip(numpy.where(near, coefficients / rms[ring], 0), -_OUTLIER, _OUTLIER)


def _aligned_score(plane_NN: Plane) -> float:
    """Return the score of the pattern in a whole picture on the grid."""
    signs_NN = _pattern_on_grid()[1]
    found = (_whitened(plane_NN) * signs_NN)[signs_NN != 0]
    return float(found.sum() / (numpy.sqrt((found**2).sum()) + _EMPTY))


def _cropped_score(plane: Plane, kept_width: float, kept_height: float) -> float:
    """Return the best score of the pattern at any place of a picture that is so large a part of the
    marked one.
    """
    height, width = round(_GRID * kept_height), round(_GRID * kept_width)
    part = fft.idctn(_whitened(_on_grid(plane, height, width)), norm="ortho")
    whole_NN = numpy.zeros((_GRID, _GRID))
    whole_NN[:height, :width] = part / (part.std() + _EMPTY)
    spectrum = _pattern_on_grid()[0] * numpy.conj(fft.rfft2(whole_NN))
    places = fft.irfft2(spectrum, s=(_GRID, _GRID))[: _GRID - height + 1, : _GRID - width + 1]
    num_free = numpy.count_nonzero(_signs()) * kept_height * kept_width
    return float(places.max() / (height * width) * numpy.sqrt(num_free))
