"""The CLIP judge: it names categories by zero-shot, beside a classifier where there is one."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from fairgen.attributes import Attribute, render
from fairgen.judging.judge import Classifier, Perception
from fairgen.pictures import opaque

_TEMPLATE = "a photo of {subject}"


class ClipJudge:
    """Names categories by zero-shot CLIP, with the model's own logit scale.

    Without the scale every picture looks undecided: a cosine gap of 0.1 is a sure answer for CLIP,
    and the softmax of the bare cosines calls it 52 to 48.
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
        of its own beside `attributes`. `batch_size` pictures pass the image tower at once.
        """
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        self.model = CLIPModel.from_pretrained(source, dtype=torch.float32).eval().to(device)
        self._tokenizer = AutoTokenizer.from_pretrained(source)
        self._processor = CLIPImageProcessor.from_pretrained(source)
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
        return normalize(self.model.visual_projection(pooled), dim=-1).cpu()

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str]) -> Tensor:
        inputs = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        inputs = inputs.to(self.model.device)
        pooled = self.model.text_model(
            input_ids=inputs.input_ids, attention_mask=inputs.attention_mask
        ).pooler_output
        return normalize(self.model.text_projection(pooled), dim=-1).cpu()
