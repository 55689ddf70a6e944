"""Pictures as people look at them: in grids, and without an alpha channel."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from PIL import Image, ImageDraw, ImageFont

_GAP_PX, _MARGIN_PX, _LABEL_PX = 4, 8, 120
_FONT_PX, _CAPTION_PX = 15, 12


@dataclass(frozen=True)
class Block:
    """Pictures side by side under one label. A caption is a few lines below its picture."""

    images: Sequence[Image.Image]
    label: str = ""
    captions: Sequence[str] = ()


def picture_grid(
    rows: Sequence[Sequence[Block]], headings: Sequence[str] = (), side_px: int = 96
) -> Image.Image:
    """Return rows of blocks as one RGB picture, blocks of a column below each other; every picture
    is `side_px` high and wide at most.
    """
    columns = list(zip_longest(*rows, fillvalue=Block(())))
    lefts, labels = [], []
    right = 0
    for column in columns:
        lefts.append(right + _MARGIN_PX)
        labels.append(_LABEL_PX if any(block.label for block in column) else 0)
        most = max(len(block.images) for block in column)
        right += 2 * _MARGIN_PX + labels[-1] + most * (side_px + _GAP_PX)
    lines = [max((c.count("\n") + 1 for b in row for c in b.captions), default=0) for row in rows]
    tops = [_MARGIN_PX + (2 * _FONT_PX if headings else 0)]
    for count in lines:
        tops.append(tops[-1] + side_px + _GAP_PX + count * (_CAPTION_PX + 4))
    sheet = Image.new("RGB", (right, tops[-1] + _MARGIN_PX), "white")
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(_FONT_PX), ImageFont.load_default(_CAPTION_PX)
    for left, label_px, heading in zip(lefts, labels, headings, strict=False):
        pen.text((left + label_px, _MARGIN_PX), heading, fill="black", font=font)
    for top, row in zip(tops, rows, strict=False):
        for left, label_px, block in zip(lefts, labels, row, strict=False):
            pen.text((left, top + side_px / 2 - 8), block.label, fill="black", font=font)
            for index, (image, caption) in enumerate(zip_longest(block.images, block.captions)):
                corner = left + label_px + index * (side_px + _GAP_PX)
                sheet.paste(_fitted(image, side_px), (corner, top))
                if caption:
                    below = (corner, top + side_px + 2)
                    pen.multiline_text(below, caption, fill="black", font=small, spacing=4)
    return sheet


def opaque(image: Image.Image) -> Image.Image:
    """Return a picture in RGB: on white where it has an alpha channel."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    sheet = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(sheet, image).convert("RGB")


def png(image: Image.Image) -> bytes:
    """Return a picture's bytes as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _fitted(image: Image.Image, side_px: int) -> Image.Image:
    """Return a picture on a white square, as large as it fits."""
    scale = side_px / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    square = Image.new("RGB", (side_px, side_px), "white")
    square.paste(opaque(image).resize(size, Image.Resampling.LANCZOS))
    return square
