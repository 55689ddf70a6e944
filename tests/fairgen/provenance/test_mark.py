"""An invisible mark is found after what happens to pictures, and never where there is none."""

import io

import numpy
import pytest
from PIL import Image

from fairgen.provenance import check_size, find_mark, marked

SIDE_PX = 384


def noise(side_px: int, seed: int = 0) -> Image.Image:
    """Return grain, the hardest picture to mark."""
    drawn = numpy.random.default_rng(seed).integers(0, 256, (side_px, side_px, 3))
    return Image.fromarray(drawn.astype(numpy.uint8))


def pictures(side_px: int = SIDE_PX) -> list[Image.Image]:
    """Return smooth pictures, grain, and plain black."""
    slope = numpy.linspace(0, 250, side_px)[:, None] * numpy.ones((1, side_px))
    waves = 120 + 80 * numpy.sin(numpy.hypot(*numpy.indices((side_px, side_px)) / 9.0))
    planes = (slope, waves)
    smooth = [Image.fromarray(plane.astype(numpy.uint8)).convert("RGB") for plane in planes]
    return [*smooth, noise(side_px), Image.new("RGB", (side_px, side_px))]


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=75)
    return Image.open(buffer)


def resized(image: Image.Image, scale: float) -> Image.Image:
    size = round(image.width * scale), round(image.height * scale)
    return image.resize(size, Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """Return a picture without a tenth of each side, off its middle."""
    width, height = image.size
    left, top = round(0.03 * width), round(0.07 * height)
    return image.crop((left, top, left + round(0.9 * width), top + round(0.9 * height)))


def psnr(one: Image.Image, other: Image.Image) -> float:
    apart = numpy.asarray(one, dtype=float) - numpy.asarray(other, dtype=float)
    return float(10 * numpy.log10(255**2 / numpy.mean(apart**2)))


@pytest.mark.parametrize("image", pictures(), ids=["slope", "waves", "grain", "black"])
def test_the_mark_is_faint_and_found_after_what_happens_to_pictures(image: Image.Image) -> None:
    made = marked(image)
    assert made.size == image.size and psnr(image, made) > 36
    assert find_mark(image) is None
    for changed in (
        made, jpeg(made), resized(made, 0.5), resized(resized(made, 0.5), 2), resized(made, 1.7),
        jpeg(resized(made, 0.5)),
    ):  # fmt: skip
        found = find_mark(changed)
        assert found is not None and found.score >= 5 and found.kept == (1, 1)
    for changed in (cropped(made), jpeg(cropped(made))):
        found = find_mark(changed)
        assert found is not None and found.kept == pytest.approx((0.9, 0.9), abs=0.03)


def test_the_mark_fits_a_picture_that_is_no_square() -> None:
    made = marked(noise(640).crop((0, 0, 640, 400)))
    assert find_mark(made) is not None and find_mark(resized(jpeg(made), 0.5)) is not None


def test_the_mark_is_found_in_a_picture_that_was_enlarged_many_times() -> None:
    made = resized(marked(pictures(256)[0]), 12)
    found = find_mark(made)
    assert found is not None and found.kept == (1, 1)
    assert find_mark(cropped(made)) is not None


def test_nothing_is_found_where_no_mark_is() -> None:
    assert [find_mark(noise(200, seed)) for seed in range(4)] == [None] * 4
    assert [find_mark(image) for image in pictures(200)] == [None] * 4
    assert find_mark(Image.new("RGB", (1, 1))) is None


def test_pictures_that_are_too_small_for_a_faint_mark_are_refused() -> None:
    for size in ((64, 64), (512, 255)):
        with pytest.raises(ValueError, match=r"^mark: got pictures of \d+x\d+ pixels, allowed are"):
            marked(Image.new("RGB", size))
        with pytest.raises(ValueError, match="256 and more a side"):
            check_size(*size)
    check_size(256, 256)
