"""From rows to pictures: finished ones, and previews of those on their way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from fairgen.backbones import Backbone
from fairgen.engine.runner import Row
from fairgen.engine.safety import SafetyChecker


@dataclass(frozen=True)
class DecodedImage:
    """A picture, and whether the base's safety checker flagged it: None where there is none."""

    image: Image.Image
    flagged: bool | None


class Decoder:
    """Decodes the clean latents of rows together, as the family's pipeline does, its safety checker
    included. The engine's thread calls it.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._codec = backbone.codec
        self._checker = SafetyChecker(backbone.pipe)

    def decode(self, rows: Sequence[Row]) -> list[DecodedImage]:
        """Return a picture of each row, of one shape: the final one, or what is predicted so far.

        Raises ValueError where latents or pixels are not finite.
        """
        latents = torch.stack([row.clean for row in rows])
        if not bool(latents.isfinite().all()):
            raise ValueError("latents are not finite")
        pixels, flagged = self._checker.check(self._codec.decode(latents))
        images = self._codec.pictures(pixels, flagged)
        return [
            DecodedImage(image, None if flagged is None else flagged[index])
            for index, image in enumerate(images)
        ]
