"""The pictures of an edit: looked at by their headers first, then decoded, and cut to the size that
is painted.

Their names and what a client calls their kind are not believed.
"""

import hashlib
import io
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from PIL import ExifTags, Image, ImageOps

from pipelines.serve.access.errors import RequestError
from pipelines.serve.image_plan import PaintableSizes, Start
from pipelines.serve.models import nearest
from pipelines.serve.schemas import sides_of
from pipelines.serve.uploads.form import MOST_IMAGES, UploadedFile

log = logging.getLogger(__name__)
_FORMATS = ("PNG", "JPEG", "WEBP")
_MAY_MOVE = ("PNG", "WEBP")  # a JPEG of several pictures is a phone's: the first is the photograph
_MOST_SCANS = 100  # of a JPEG: each costs a pass over the whole picture, and may be a few bytes
_SCAN = b"\xff\xda"
_TURNS = {  # what undoes each orientation of EXIF's; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Sides = tuple[int, int]


@dataclass(frozen=True)
class Upload:
    """A picture as it was sent, and the sides that its header says."""

    field: str
    content: bytes
    sides_px: Sides
    sha256: str

    @classmethod
    def opened(cls, field: str, content: bytes, most_pixels: int) -> Self:
        """Read a file's header. Raises RequestError 400 for what is no PNG, JPEG or WebP, moves, or
        has more pixels.
        """
        image = _open(field, content, most_pixels)
        if image.width * image.height > most_pixels:
            raise _refused(
                field,
                f"got {image.width}x{image.height} pixels, allowed are {most_pixels} in all",
                "too_large",
            )
        if image.format in _MAY_MOVE and getattr(image, "is_animated", False):
            raise _refused(field, "got a file of several pictures, allowed is one picture")
        if content.count(_SCAN) > _MOST_SCANS and image.format not in _MAY_MOVE:
            scans = content.count(_SCAN)
            raise _refused(field, f"got a JPEG of {scans} scans, allowed are at most {_MOST_SCANS}")
        return cls(field, content, image.size, hashlib.sha256(content).hexdigest())

    def decoded(self) -> Image.Image:
        """Return the picture, turned as its camera says. Raises RequestError 400 for a file that
        ends too early or is damaged.
        """
        try:
            with Image.open(io.BytesIO(self.content), formats=_FORMATS) as image:
                image.load()
                return _upright(image, self.field)
        except Exception as error:  # a damaged file makes Pillow raise errors of any class
            raise _unreadable(self.field, error) from error


@dataclass(frozen=True)
class Uploads:
    """The pictures of an edit, and its mask."""

    images: Sequence[Upload]
    mask: Upload | None = None

    @classmethod
    def opened(cls, files: Sequence[UploadedFile], most_pixels: int) -> Self:
        """Read the headers of a form's files. Raises RequestError 400 for what cannot be taken."""
        of_images = [file for file in files if file.field == "image"]
        of_masks = [file for file in files if file.field == "mask"]
        if not of_images:
            raise _refused("image", f"got none, allowed are 1 to {MOST_IMAGES} files")
        if len(of_images) > MOST_IMAGES:
            message = f"got {len(of_images)}, allowed are at most {MOST_IMAGES}"
            raise _refused("image", message, "too_large")
        if len(of_masks) > 1:
            raise _refused("mask", f"got {len(of_masks)}, allowed is one")
        names = [f"image[{i}]" if len(of_images) > 1 else "image" for i in range(len(of_images))]
        masks = [Upload.opened("mask", file.content, most_pixels) for file in of_masks]
        images = [
            Upload.opened(name, file.content, most_pixels)
            for name, file in zip(names, of_images, strict=True)
        ]
        return cls(images, masks[0] if masks else None)

    def digests(self) -> list[tuple[str, str]]:
        """Return the field and the SHA-256 of each file."""
        masks = [] if self.mask is None else [self.mask]
        return [(upload.field, upload.sha256) for upload in (*self.images, *masks)]

    def num_bytes(self, size_of: Callable[[Sides], Sides]) -> int:
        """Return how much memory `starts` takes, by the headers."""
        pixels = sum(math.prod(size_of(upload.sides_px)) for upload in self.images)
        return pixels * (3 if self.mask is None else 4)

    def starts(self, strength: float, size_of: Callable[[Sides], Sides]) -> list[Start]:
        """Return the pictures at the sizes to paint: scaled to cover them, and cropped at their
        centre.

        Raises RequestError 400 for a file that is damaged, and for a mask that has no transparent
        pixels or another size than a picture.
        """
        mask = None if self.mask is None else _transparent(self.mask)
        return [self._start(upload, mask, strength, size_of) for upload in self.images]

    def _start(
        self,
        upload: Upload,
        mask: Image.Image | None,
        strength: float,
        size_of: Callable[[Sides], Sides],
    ) -> Start:
        image = upload.decoded()
        sides = size_of(image.size)
        painted_anew = None
        if mask is not None:
            if mask.size != image.size:
                got, allowed = ("x".join(map(str, size)) for size in (mask.size, image.size))
                raise _refused("mask", f"got {got} pixels, allowed is the size of {upload.field}, "
                                       f"{allowed}")  # fmt: skip
            fitted = ImageOps.fit(mask, sides, Image.Resampling.NEAREST)
            if not fitted.getbbox():
                raise _refused("mask", "got no transparent pixel in what is left of it at the size "
                                       "to paint, allowed is some")  # fmt: skip
            painted_anew = fitted.tobytes()
        rgb = ImageOps.fit(_rgb(image), sides, Image.Resampling.LANCZOS).tobytes()
        return Start(*sides, rgb, painted_anew, strength, upload.sha256)


def own_size(sides: Sides, listed: Sequence[str], known: PaintableSizes, most_px: int) -> Sides:
    """Return the size at which a picture is painted whose request names none: of the listed sizes
    the nearest; where none are listed its own, at most so many pixels a side, rounded down to what
    the model takes.
    """
    if listed:
        return sides_of(nearest(sides, listed))
    scale, unit = min(1.0, most_px / max(sides)), known.multiple_px
    width, height = (max(unit, int(side * scale) // unit * unit) for side in sides)
    return width, height


def _open(field: str, content: bytes, most_pixels: int) -> Image.Image:
    if not content:
        raise _refused(field, "got an empty file, allowed are PNG, JPEG and WebP")
    try:
        return Image.open(io.BytesIO(content), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        message = f"got far too many pixels, allowed are {most_pixels} in all"
        raise _refused(field, message, "too_large") from error
    except Exception as error:  # a damaged file makes Pillow raise errors of any class
        raise _unreadable(field, error) from error


def _upright(image: Image.Image, field: str) -> Image.Image:
    """Return a picture as its camera says that it stands; as it is where it says nothing that can
    be read. Pillow's own function writes the other tags anew, and fails for some of them.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # damaged tags make Pillow raise errors of any class
        log.info("%s: its tags cannot be read: %s", field, error)
        return image
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _transparent(upload: Upload) -> Image.Image:
    """Return white where a mask is transparent."""
    mask = upload.decoded()
    if not mask.has_transparency_data:
        raise _refused(
            "mask",
            f"got a picture without transparency ({mask.mode}), allowed is one that is transparent "
            "where it is painted anew",
        )
    white = mask.convert("RGBA").getchannel("A").point(lambda alpha: 0 if alpha else 255)
    if not white.getbbox():
        raise _refused("mask", "got no transparent pixel, allowed is some: these are painted anew")
    return white


def _rgb(image: Image.Image) -> Image.Image:
    """Return a picture in RGB, on white where it is transparent."""
    if image.mode.startswith("I;16"):  # Pillow would cut 16 bits off at 255
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _unreadable(field: str, error: Exception) -> RequestError:
    log.info("%s: a file cannot be read: %s", field, error)
    return _refused(field, "got a file that cannot be read, allowed are whole PNG, JPEG and WebP")


def _refused(field: str, message: str, code: str = "invalid_value") -> RequestError:
    return RequestError(400, f"{field}: {message}", param=field, code=code)
