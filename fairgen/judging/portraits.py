"""The judge of the drawn world, for the embedded base model."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from fairgen.judging.judge import Perception
from fairgen.portraits import PortraitClassifier, PortraitClip


class PortraitJudge:
    """Names categories and concepts by a small CNN; a tiny CLIP gives the features."""

    def __init__(self, folder: Path, device: str = "cpu", batch_size: int = 64) -> None:
        """`folder` holds the embedded base model, its CLIP and `judge.safetensors`."""
        self.classifier = PortraitClassifier(folder, device)
        self.clip = PortraitClip(folder, device)
        self.heads = self.classifier.heads
        self._batch_size = batch_size
        self._text_features: dict[str, Tensor] = {}

    def read(self, images: Sequence[Image.Image]) -> Perception:
        """Return class probabilities by head, and the tiny CLIP's features, N x 128."""
        starts = range(0, len(images), self._batch_size)
        batches = [images[start : start + self._batch_size] for start in starts]
        classified = [self.classifier.classify(batch) for batch in batches]
        return Perception(
            {head: torch.cat([found[head] for found in classified]) for head in self.heads},
            torch.cat([self.clip.image_features(batch) for batch in batches]),
        )

    def text_feature(self, text: str) -> Tensor:
        """Return the tiny CLIP's text feature at unit length, 128 values."""
        if text not in self._text_features:
            self._text_features[text] = self.clip.text_features([text])[0]
        return self._text_features[text]
