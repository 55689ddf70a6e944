"""Who is in the picture: judges name the perceived category. They measure; no adapter is ever
trained on them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fairgen.attributes import Attribute, render


class Judge(Protocol):
    """A perceiver: class probabilities per head, image features, and how well pictures match a
    prompt.
    """

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """The classes of each head, in the order of its probabilities."""

    def perceive(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Return probabilities N x classes per head: every attribute, and "concept"."""

    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return CLIP's image features at unit length, N x D."""

    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor:
        """Return CLIP-T, the cosine of each picture with the prompt, shape N."""


class ClipJudge:
    """Names categories by zero-shot CLIP, with the model's own logit scale.

    Without the scale every picture looks undecided: a cosine gap of 0.1 is a sure answer for CLIP,
    and the softmax of
    the bare cosines calls it 52 to 48.
    """

    def __init__(
        self, folder: Path, attributes: Sequence[Attribute], concepts: Sequence[str]
    ) -> None:
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        self.model = CLIPModel.from_pretrained(folder).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._processor = CLIPImageProcessor.from_pretrained(folder)
        self.heads: dict[str, tuple[str, ...]] = {
            attribute.name: attribute.names for attribute in attributes
        }
        self.heads["concept"] = tuple(concepts)
        template = "a photo of {subject}"
        self._prompts = {
            attribute.name: [
                render(template, "person", [category.word]) for category in attribute.categories
            ]
            for attribute in attributes
        }
        self._prompts["concept"] = [render(template, concept) for concept in concepts]

    @torch.inference_mode()
    def perceive(self, images: Sequence[Image.Image]) -> dict[str, Tensor]:
        """Return softmax(logit_scale * cosine) over the prompts of each head."""
        features, scale = self.features(images), self.model.logit_scale.exp()
        return {
            head: (scale * features @ self._text_features(prompts).T).softmax(-1)
            for head, prompts in self._prompts.items()
        }

    @torch.inference_mode()
    def features(self, images: Sequence[Image.Image]) -> Tensor:
        """Return the projected image features at unit length, N x D."""
        inputs = self._processor(images=list(images), return_tensors="pt")
        pooled = self.model.vision_model(**inputs).pooler_output
        return torch.nn.functional.normalize(self.model.visual_projection(pooled), dim=-1)

    @torch.inference_mode()
    def alignment(self, images: Sequence[Image.Image], prompt: str) -> Tensor:
        """Return the cosine of each picture with the prompt, shape N."""
        return self.features(images) @ self._text_features([prompt])[0]

    def _text_features(self, prompts: Sequence[str]) -> Tensor:
        inputs = self._tokenizer(list(prompts), padding=True, truncation=True, return_tensors="pt")
        pooled = self.model.text_model(
            input_ids=inputs.input_ids, attention_mask=inputs.attention_mask
        ).pooler_output
        return torch.nn.functional.normalize(self.model.text_projection(pooled), dim=-1)


class JudgeConfig(BaseModel):
    """Which judge measures, and where its weights lie: the portrait judge's folder or a CLIP
    folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["portraits", "clip"] = "clip"
    path: Path

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        """Return the judge; a relative path is read from `root`. Raises ValueError when the weights
        are missing.
        """
        folder = self.path if self.path.is_absolute() else root / self.path
        needed = "judge.safetensors" if self.kind == "portraits" else "config.json"
        if not (folder / needed).exists():
            raise ValueError(f"judge.path: got {str(self.path)!r}, which holds no {needed}")
        if self.kind == "clip":
            return ClipJudge(folder, attributes, concepts)
        from fairgen.portraits.judge import PortraitJudge

        return PortraitJudge(folder)
