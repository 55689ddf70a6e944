"""From rows to pictures: finished ones, and previews of those on their way."""

from collections.abc import Sequence

import torch
from PIL import Image

from fairgen.backbones import Backbone
from fairgen.engine.runner import Row


class Decoder:
    """Decodes the clean latents of rows together. The engine's thread calls it."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def decode(self, rows: Sequence[Row]) -> list[Image.Image]:
        """Return a picture of each row, of one shape: the final one, or what is predicted so far.

        Raises ValueError where latents are not finite.
        """
        latents = torch.stack([row.x if row.is_finished else row.pred_x0 for row in rows])
        if not bool(latents.isfinite().all()):
            raise ValueError("latents are not finite")
        return self._backbone.decode(latents)
