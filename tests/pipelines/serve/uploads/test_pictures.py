"""Pictures that are sent are taken for what they are, and bounded before they are decoded."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.serve.access.errors import RequestError
from pipelines.serve.image_plan import PaintableSizes, Start
from pipelines.serve.uploads.form import UploadedFile
from pipelines.serve.uploads.pictures import Sides, Uploads, own_size

MOST_PIXELS = 10_000


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def noise(width: int = 24, height: int = 16, mode: str = "RGB") -> Image.Image:
    """Return a picture of random pixels."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(pixels.squeeze(), mode if channels > 1 else None)


def opened(*images: bytes, mask: bytes | None = None) -> Uploads:
    files = [UploadedFile("image", image) for image in images]
    files += [] if mask is None else [UploadedFile("mask", mask)]
    return Uploads.opened(files, MOST_PIXELS)


def started(*images: bytes, mask: bytes | None = None, at: Sides | None = None) -> list[Start]:
    return opened(*images, mask=mask).starts(0.5, lambda sides: at or sides)


def picture(start: Start) -> Image.Image:
    return Image.frombytes("RGB", (start.width_px, start.height_px), start.rgb)


def masked(width: int = 24, height: int = 16, hole: Sides = (4, 4)) -> Image.Image:
    """Return an opaque mask with a transparent corner."""
    image = Image.new("RGBA", (width, height), "black")
    image.paste((0, 0, 0, 0), (0, 0, *hole))
    return image


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + content


def with_chunk(png: bytes, kind: bytes, content: bytes, at: int = 33) -> bytes:
    """Return a PNG with one more chunk, by default right after its header."""
    return png[:at] + chunk(kind, content) + png[at:]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_picture_s_pixels_come_through(kind: str, mode: str) -> None:
    image = noise(mode=mode)
    (start,) = started(file_of(image, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert start.rgb == image.convert("RGB").tobytes() and start.mask is None
    assert (start.width_px, start.height_px, start.strength) == (24, 16, 0.5)


def test_a_jpeg_is_what_pillow_reads_of_it() -> None:
    content = file_of(noise(), "JPEG")
    (start,) = started(content)
    assert start.rgb == Image.open(io.BytesIO(content)).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_camera_s_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = file_of(noise(), kind, exif=exif)
    (start,) = started(content)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    assert (start.width_px, start.height_px) == upright.size == picture(start).size
    assert start.rgb == upright.tobytes()


def test_tags_that_cannot_be_read_leave_a_picture_as_it_is() -> None:
    (start,) = started(file_of(noise(), "PNG", exif=b"Exif\0\0no tags"))
    assert start.rgb == noise().tobytes()


def test_an_orientation_is_applied_whatever_the_other_tags_hold() -> None:
    """Pillow's `exif_transpose` writes them anew, and fails for a resolution that is a text."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72
    tags = exif.tobytes().replace(b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02")
    content = file_of(noise(), "WEBP", exif=tags, lossless=True)
    with pytest.raises(TypeError):
        ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    (start,) = started(content)
    assert start.rgb == noise().transpose(Image.Transpose.ROTATE_270).tobytes()


def test_an_orientation_that_a_png_names_last_is_applied_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    png = file_of(noise())
    (start,) = started(with_chunk(png, b"eXIf", exif.tobytes()[6:], at=len(png) - 12))
    assert (start.width_px, start.height_px) == (16, 24)


@pytest.mark.parametrize(
    ("image", "seen"),
    [
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (2, 2), (0, 0)), (255, 255, 255)),
        (Image.new("1", (2, 2), 0), (0, 0, 0)),
        (Image.fromarray(np.full((2, 2), 32_768, np.uint16)), (128, 128, 128)),
        (Image.fromarray(np.full((2, 2), 255, np.uint16)), (0, 0, 0)),
    ],
)
def test_other_modes_become_rgb_on_white(image: Image.Image, seen: tuple[int, ...]) -> None:
    (start,) = started(file_of(image))
    assert picture(start).getpixel((0, 0)) == seen


def test_a_palette_s_transparent_colour_is_white() -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 1), 1)
    (start,) = started(file_of(image, transparency=0))
    assert picture(start).getpixel((0, 0)) == (255, 255, 255)
    assert picture(start).getpixel((1, 1)) == (0, 255, 0)


def test_a_cmyk_jpeg_becomes_rgb() -> None:
    (start,) = started(file_of(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = picture(start).getpixel((8, 8))
    assert red > 240 and green < 15 and blue < 15


def test_a_phone_s_jpeg_of_two_pictures_is_its_photograph() -> None:
    depth = Image.new("RGB", (24, 16), "blue")
    photo = file_of(Image.new("RGB", (24, 16), "red"), "MPO", save_all=True, append_images=[depth])
    (start,) = started(photo)
    assert picture(start).getpixel((5, 5))[0] > 240


def test_a_picture_is_scaled_to_cover_and_cropped_at_its_centre() -> None:
    image = noise(40, 16)
    (start,) = started(file_of(image), at=(8, 8))
    cropped = image.resize((8, 8), Image.Resampling.LANCZOS, box=(12, 0, 28, 16))
    assert start.rgb == cropped.tobytes()


@pytest.mark.parametrize(
    ("sides", "listed", "painted"),
    [
        ((24, 16), (), (24, 16)),
        ((27, 19), (), (24, 16)),
        ((3, 100), (), (8, 64)),
        ((640, 320), (), (64, 32)),
        ((500, 333), (), (64, 40)),
        ((24, 16), ("16x16", "32x16"), (32, 16)),
        ((4000, 4100), ("16x16", "32x16"), (16, 16)),
    ],
)
def test_a_picture_has_a_size_of_its_own_that_the_model_takes(
    sides: Sides, listed: tuple[str, ...], painted: Sides
) -> None:
    assert own_size(sides, listed, PaintableSizes((16, 16), 8), most_px=64) == painted


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_mask_s_transparent_pixels_are_white(mode: str) -> None:
    mask = masked().convert(mode) if mode != "P" else None
    content = file_of(mask) if mask else file_of(masked().quantize())
    (start,) = started(file_of(noise()), mask=content)
    expected = np.zeros((16, 24), np.uint8)
    expected[:4, :4] = 255
    assert start.mask == expected.tobytes()


def test_what_is_nearly_transparent_stays() -> None:
    mask = masked()
    mask.putpixel((20, 10), (0, 0, 0, 1))
    (start,) = started(file_of(noise()), mask=file_of(mask))
    assert start.mask is not None and start.mask.count(255) == 16


def test_a_mask_is_scaled_and_cropped_with_its_picture() -> None:
    mask = masked(40, 16, hole=(16, 8))
    (start,) = started(file_of(noise(40, 16)), mask=file_of(mask), at=(8, 8))
    expected = np.zeros((8, 8), np.uint8)
    expected[:4, :2] = 255
    assert start.mask == expected.tobytes()


def test_pictures_keep_their_order_and_share_a_mask() -> None:
    first, second = noise(), ImageOps.mirror(noise())
    starts = started(file_of(first), file_of(second), mask=file_of(masked()))
    assert [start.rgb for start in starts] == [first.tobytes(), second.tobytes()]
    assert starts[0].mask == starts[1].mask and starts[0].sha256 != starts[1].sha256


PNG, JPEG, WEBP = (file_of(noise(64, 64), kind) for kind in ("PNG", "JPEG", "WEBP"))
MOVING = {"save_all": True, "append_images": [Image.new("RGB", (24, 16))]}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"no picture", "got a file that cannot be read, allowed are whole PNG, JPEG and WebP"),
        (file_of(noise(), "GIF"), "got a file that cannot be read"),
        (file_of(noise(), "BMP"), "got a file that cannot be read"),
        (file_of(noise(), "TIFF"), "got a file that cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "got a file that cannot be read"),
        (PNG[: len(PNG) // 2], "got a file that cannot be read"),
        (JPEG[: len(JPEG) // 2], "got a file that cannot be read"),
        (WEBP[: len(WEBP) // 2], "got a file that cannot be read"),
        (PNG[:20], "got a file that cannot be read"),
        (file_of(noise(), "PNG", **MOVING), "got a file of several pictures"),
        (file_of(noise(), "WEBP", **MOVING), "got a file of several pictures"),
        (file_of(Image.new("1", (101, 100))), "got 101x100 pixels, allowed are 10000 in all"),
        (png_that_claims(10_000, 9_000), "got 10000x9000 pixels, allowed are 10000 in all"),
        (png_that_claims(50_000, 50_000), "got far too many pixels, allowed are 10000 in all"),
        (png_that_claims(0, 5), "got a file that cannot be read"),
        (
            with_chunk(PNG, b"zTXt", b"k\0\0" + zlib.compress(b"a" * 2**21)),
            "got a file that cannot be read",
        ),
        (JPEG[:-2] + b"\xff\xda\x00\x02" * 101 + JPEG[-2:], "got a JPEG of 102 scans"),
    ],
)
def test_what_is_no_whole_picture_of_a_bounded_size_is_refused(
    content: bytes, message: str
) -> None:
    with pytest.raises(RequestError, match=f"^image: {message}") as refused:
        started(content)
    assert (refused.value.status, refused.value.param) == (400, "image")


def test_of_several_pictures_the_wrong_one_is_named() -> None:
    with pytest.raises(RequestError, match=r"^image\[1\]: got a file that cannot be read"):
        started(PNG, b"no picture", PNG)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (file_of(noise()), r"got a picture without transparency \(RGB\), allowed is one that is"),
        (file_of(noise(), "JPEG"), r"got a picture without transparency \(RGB\)"),
        (file_of(Image.new("RGBA", (24, 16), "red")), "got no transparent pixel, allowed is some"),
        (file_of(masked(16, 24)), "got 16x24 pixels, allowed is the size of image, 24x16"),
        (file_of(masked())[:60], "got a file that cannot be read"),
        (b"", "got an empty file"),
        (png_that_claims(50_000, 50_000), "got far too many pixels"),
    ],
)
def test_a_mask_that_says_nothing_is_refused(mask: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=f"^mask: {message}") as refused:
        started(file_of(noise()), mask=mask)
    assert (refused.value.status, refused.value.param) == (400, "mask")


def test_a_mask_of_which_the_crop_leaves_no_transparent_pixel_is_refused() -> None:
    mask = file_of(masked(40, 16, hole=(4, 4)))
    with pytest.raises(RequestError, match="mask: got no transparent pixel in what is left of it"):
        started(file_of(noise(40, 16)), mask=mask, at=(8, 8))


def test_none_too_many_and_two_masks_are_refused() -> None:
    assert len(opened(*[file_of(noise())] * 16).images) == 16
    with pytest.raises(RequestError, match="image: got none, allowed are 1 to 16 files"):
        opened(mask=file_of(masked()))
    with pytest.raises(RequestError, match="image: got 17, allowed are at most 16"):
        opened(*[file_of(noise())] * 17)
    files = [UploadedFile(name, PNG) for name in ("image", "mask", "mask")]
    with pytest.raises(RequestError, match="mask: got 2, allowed is one"):
        Uploads.opened(files, MOST_PIXELS)
