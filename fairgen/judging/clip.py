"""The CLIP judge: CLIP or SigLIP names categories by zero-shot, beside a classifier where there is
one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from fairgen.attributes import Attribute, render
from fairgen.judging.judge import CLIP_TYPES, Classifier, Perception
from fairgen.pictures import opaque

_TEMPLATE = "a photo of {subject}"
_TEXT_INPUTS = ("input_ids", "attention_mask")  # the second where the tokenizer makes one


class ClipJudge:
    """Names categories by zero-shot CLIP or SigLIP, with the model's own logit scale.

    SigLIP's bias is the same for all categories: a softmax over them does not see it. Without the
    scale every picture looks undecided: a cosine gap of 0.1 is a sure answer for CLIP, and the
    softmax of the bare cosines calls it 52 to 48.
    """

    def __init__(
        self,
        source: Path | str,
        attributes: Sequence[Attribute],
        concepts: Sequence[str],
        *,
        classifier: Classifier | None = None,
        device: str = "cpu",
        batch_size: int = 64,
    ) -> None:
        """`source` is a folder, or a model of the hub as owner/name. A classifier names attributes
        of its own beside `attributes`. `batch_size` pictures pass the image tower at once. Raises
        ValueError for a model that is neither, and for weights that are not whole.
        """
        from transformers import AutoTokenizer

        kind, processor = _kind_of(source)
        model, found = kind.from_pretrained(source, dtype=torch.float32, output_loading_info=True)
        if missing := sorted(found["missing_keys"]):
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise ValueError(
                f"judge: got {str(source)!r}, whose weights lack {missing[0]}{more}; allowed is a "
                f"whole {kind.__name__}"
            )
        self.model = model.eval().to(device)
        self._tokenizer = AutoTokenizer.from_pretrained(source)
        self._processor = processor.from_pretrained(source)
        self.classifier, self._batch_size = classifier, batch_size
        self._text_features: dict[str, Tensor] = {}
        prompts = {
            attribute.name: [
                render(_TEMPLATE, "person", [category.word]) for category in attribute.categories
            ]
            for attribute in attributes
        }
        prompts["concept"] = [render(_TEMPLATE, concept) for concept in concepts]
        self._zero_shot = {head: self._encode(texts) for head, texts in prompts.items() if texts}
        self.heads: dict[str, tuple[str, ...]] = {
            **(classifier.heads if classifier is not None else {}),
            **{attribute.name: attribute.names for attribute in attributes},
            "concept": tuple(concepts),
        }

    @torch.inference_mode()
    def read(self, images: Sequence[Image.Image]) -> Perception:
        """Return softmax(logit_scale * cosine) over the prompts of each head, and the projected
        image features.
        """
        starts = range(0, len(images), self._batch_size)
        features = torch.cat([self._embed(images[s : s + self._batch_size]) for s in starts])
        scale = self.model.logit_scale.exp().cpu()
        probabilities = {
            head: (scale * features @ texts.T).softmax(-1)
            for head, texts in self._zero_shot.items()
        }
        if self.classifier is None:
            return Perception(probabilities, features)
        classified = self.classifier.classify(images)
        probabilities |= classified.probabilities
        return Perception(probabilities, features, classified.abstained)

    def text_feature(self, text: str) -> Tensor:
        """Return the projected text feature at unit length, D values."""
        if text not in self._text_features:
            self._text_features[text] = self._encode([text])[0]
        return self._text_features[text]

    def _embed(self, images: Sequence[Image.Image]) -> Tensor:
        seen = [opaque(image) for image in images]
        inputs = self._processor(images=seen, return_tensors="pt").to(self.model.device)
        pooled = self.model.vision_model(**inputs).pooler_output
        return self._projected(pooled, "visual_projection")

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> Tensor:
        padded: dict[str, Any] = {"padding": True}
        if not self._projects:  # SigLIP learnt on lower case, filled up to the longest text
            texts = [text.lower() for text in texts]
            length = self.model.config.text_config.max_position_embeddings
            padded = {"padding": "max_length", "max_length": length}
        inputs = self._tokenizer(list(texts), truncation=True, return_tensors="pt", **padded)
        given = {name: inputs[name] for name in _TEXT_INPUTS if name in inputs}
        pooled = self.model.text_model(
            **{name: tensor.to(self.model.device) for name, tensor in given.items()}
        ).pooler_output
        return self._projected(pooled, "text_projection")

    @property
    def _projects(self) -> bool:
        """Whether what the towers pool is projected, as CLIP's is."""
        return hasattr(self.model, "text_projection")

    def _projected(self, pooled: Tensor, projection: str) -> Tensor:
        """Return features at unit length, of what a tower has pooled."""
        features = getattr(self.model, projection)(pooled) if self._projects else pooled
        return normalize(features, dim=-1).cpu()


def _kind_of(source: Path | str) -> tuple[Any, Any]:
    """Return the classes of a saved model, and of what reads its pictures."""
    from transformers import (
        AutoConfig,
        CLIPImageProcessor,
        CLIPModel,
        SiglipImageProcessor,
        SiglipModel,
    )

    parts = (CLIPModel, CLIPImageProcessor), (SiglipModel, SiglipImageProcessor)
    kinds = dict(zip(CLIP_TYPES, parts, strict=True))
    found = AutoConfig.from_pretrained(source).model_type
    if found not in kinds:
        raise ValueError(f"judge: got a model of type {found!r}, allowed are {CLIP_TYPES}")
    return kinds[found]
