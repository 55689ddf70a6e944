"""Pictures to begin from, and their edits."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, product

import torch
from PIL import Image, ImageDraw

from fairgen.adapters import load_adapter
from fairgen.engine import StartImage
from fairgen.indicator import TargetDistribution
from fairgen.judging import Judge
from fairgen.portraits import ADAPTERS, draw_all
from fairgen.sampling import WHOLE
from pipelines.evaluation import EngineSource, picture_seeds, plan_prompt
from pipelines.experiments.edits.results import (
    AFRESH,
    BY_ADAPTERS,
    BY_WORDS,
    CODEC,
    GENDER,
    GLASSES,
    PAINTED,
    SKIN,
    SKIN_KEPT,
    Condition,
)
from pipelines.recipe import Recipe, load_painter

HEAD = (0.2, 0.12, 0.8, 0.84)  # left, top, right, bottom of what a mask shows, of the picture


class EditPainter:
    """Paints and draws the pictures that edits begin from, and edits them. One thread calls it."""

    def __init__(self, recipe: Recipe, judge: Judge) -> None:
        """Raises ValueError where the shipped adapters of gender are of another base model."""
        self._recipe, self._judge = recipe, judge
        self._backbone = load_painter(recipe)
        base = self._backbone.fingerprint
        adapters = [load_adapter(ADAPTERS / name) for name in recipe.adapter_names(GENDER)]
        for adapter in adapters:
            adapter.check_base(base, recipe.loading.siblings)
        generation = recipe.generation
        sampling = replace(  # as edits are
            generation.sampling, guidance_interval=WHOLE, taylorseer=None
        )
        self._source = EngineSource(self._backbone, sampling, generation.batch_size, adapters)
        self._fair = TargetDistribution.from_request({GENDER: "uniform"}, recipe.attributes)

    def starts(self, start: str, concept: str, num_images: int) -> list[Image.Image]:
        """Return pictures of a concept: painted by the base model, or drawn with every category of
        gender, skin and age equally often.
        """
        if start == PAINTED:
            plan = plan_prompt(self._recipe, concept, num_images, self._fair, "nothing", "base")
            return self._source.paint(plan)
        attributes = self._recipe.attributes
        cells = list(product(*(attribute.names for attribute in attributes)))
        rng = random.Random(f"{self._recipe.evaluation.seed}/{start}/{concept}")
        rounds = -(-num_images // len(cells))
        chosen = [
            dict(zip((attribute.name for attribute in attributes), cell, strict=True))
            for cell in islice(cells * rounds, num_images)
        ]
        return draw_all(concept, chosen, rng)

    def asked(
        self, method: str, concept: str, pictures: Sequence[Image.Image]
    ) -> list[dict[str, str]]:
        """Return the category that is asked of each picture: each gender of half of them, or the
        skin that the judge sees.
        """
        if method in (BY_ADAPTERS, BY_WORDS):
            plan = plan_prompt(self._recipe, concept, len(pictures), self._fair, "quota", "edits")
            return [dict(categories) for categories in plan.categories]
        if method == SKIN_KEPT:
            seen = self._judge.read(pictures).probabilities[SKIN].argmax(1).tolist()
            return [{SKIN: self._judge.heads[SKIN][index]} for index in seen]
        return [{GLASSES: "with"} if method == GLASSES else {} for _ in pictures]

    def edit(
        self,
        condition: Condition,
        concept: str,
        pictures: Sequence[Image.Image],
        chosen: Sequence[int] = (),
    ) -> list[Image.Image]:
        """Return the pictures edited, or those `chosen` by their index. A picture's seed is the
        same under every condition, and another than the one that it was painted from.
        """
        chosen = chosen or range(len(pictures))
        seeds = picture_seeds(self._recipe, f"edits of {concept}", len(pictures))
        if condition.method == CODEC:
            return [self._through_codec(pictures[index], seeds[index]) for index in chosen]
        asked = self.asked(condition.method, concept, pictures)
        phrases = [self._phrase(condition.method, categories) for categories in asked]
        edited: dict[int, Image.Image] = {}
        for phrase in dict.fromkeys(phrases[index] for index in chosen):
            own = [index for index in chosen if phrases[index] == phrase]
            plan = plan_prompt(
                self._recipe, concept, len(own), self._fair, "nothing", "edits", phrase
            )
            gated = condition.method == BY_ADAPTERS
            plan = replace(
                plan,
                seeds=[seeds[index] for index in own],
                categories=[asked[index] if gated else {} for index in own],
            )
            starts = [self._start(condition, pictures[index]) for index in own]
            starts = [] if condition.method == AFRESH else starts
            edited |= zip(own, self._source.paint(plan, starts), strict=True)
        return [edited[index] for index in chosen]

    def _start(self, condition: Condition, picture: Image.Image) -> StartImage:
        mask = head_mask(picture.size) if condition.masked else None
        return StartImage(picture, condition.strength, mask)

    def _phrase(self, method: str, asked: Mapping[str, str]) -> str:
        if method == GLASSES:
            return "{concept} with glasses"
        if method not in (BY_WORDS, SKIN_KEPT):
            return "{concept}"
        ((attribute, category),) = asked.items()
        return f"{self._recipe.attribute(attribute).category(category).word} {{concept}}"

    def _through_codec(self, picture: Image.Image, seed: int) -> Image.Image:
        codec = self._backbone.codec
        latents = codec.encode(picture, [torch.Generator().manual_seed(seed)])
        (decoded,) = codec.pictures(codec.decode(latents))
        return decoded


def head_mask(size_px: tuple[int, int]) -> Image.Image:
    """Return a mask that shows the head of a portrait, with its hair."""
    mask = Image.new("L", size_px)
    width, height = size_px
    left, top, right, bottom = HEAD
    box = (left * width, top * height, right * width - 1, bottom * height - 1)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    return mask


def check_recipe(recipe: Recipe) -> None:
    """Raise ValueError for a recipe whose pictures are not those of the drawn world."""
    if recipe.judge.kind != "portraits":
        raise ValueError(f"judge: got {recipe.judge.kind}, allowed is portraits")
    names = [attribute.name for attribute in recipe.attributes]
    if missing := {GENDER, SKIN} - set(names):
        raise ValueError(f"attributes: got {names}, needed are also {sorted(missing)}")
