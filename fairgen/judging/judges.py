"""Who is in the picture: judges name the perceived category. They measure; no adapter is ever
trained on them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, model_validator
from torch import Tensor

from fairgen.attributes import Attribute, render

Classes = dict[str, dict[str, tuple[str, ...]]]


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
        self, source: Path | str, attributes: Sequence[Attribute], concepts: Sequence[str]
    ) -> None:
        """`source` is a folder, or a model of the hub as owner/name."""
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        self.model = CLIPModel.from_pretrained(source).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(source)
        self._processor = CLIPImageProcessor.from_pretrained(source)
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
    """Which judge measures, and where its weights lie: the portrait judge's folder, a CLIP folder
    or hub id, or a FairFace-shaped classifier's folder or file.

    Such a classifier comes with `clip`, the CLIP that names concepts, and with `classes`,
    its labels for each category: attribute -> category -> labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["portraits", "clip", "fairface"] = "clip"
    path: Path
    clip: Path | None = None
    classes: Classes | None = None

    @model_validator(mode="after")
    def _fields_of_kind(self) -> "JudgeConfig":
        for field, value in {"clip": self.clip, "classes": self.classes}.items():
            if self.kind == "fairface" and value is None:
                raise ValueError(
                    f"{field}: got nothing, allowed is a value: the kind 'fairface' needs it"
                )
            if self.kind != "fairface" and value is not None:
                got = str(value) if isinstance(value, Path) else value
                raise ValueError(f"{field}: got {got!r}, allowed with the kind 'fairface' only")
        return self

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        """Return the judge; a relative path is read from `root`. Raises ValueError when the weights
        are missing.
        """
        if self.kind == "portraits":
            from fairgen.portraits.judge import PortraitJudge

            return PortraitJudge(_folder("path", root, self.path, "judge.safetensors"))
        if self.kind == "clip":
            return _clip("path", root, self.path, attributes, concepts)
        from fairgen.judging.fairface import FairFaceJudge

        assert self.clip is not None and self.classes is not None
        clip = _clip("clip", root, self.clip, (), concepts)
        return FairFaceJudge(root / self.path, self.classes, attributes, clip)


def _clip(
    field: str, root: Path, path: Path, attributes: Sequence[Attribute], concepts: Sequence[str]
) -> ClipJudge:
    """Return the CLIP judge of a folder read from `root`; what is none and looks like a hub id is
    asked of the hub. Raises ValueError where it is not to be had.
    """
    if (root / path).exists() or len(path.parts) != 2:
        return ClipJudge(_folder(field, root, path, "config.json"), attributes, concepts)
    try:
        return ClipJudge(path.as_posix(), attributes, concepts)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"judge.{field}: got {str(path)!r}, which is no folder and cannot be loaded from the "
            f"hub: {reason}"
        ) from error


def _folder(field: str, root: Path, path: Path, needed: str) -> Path:
    """Return the folder read from `root`, unless it lacks the needed file."""
    if not (root / path / needed).exists():
        raise ValueError(f"judge.{field}: got {str(path)!r}, which holds no {needed}")
    return root / path
