"""What compared systems share: on one base model, each paints what is asked, at given seeds."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor

from fairgen.attributes import Attribute, render
from fairgen.backbones import Backbone, PromptCache
from fairgen.guidance import GuidedRows
from fairgen.judging import Judge
from fairgen.sampling import Sampling

Weights = dict[str, Tensor]
Predict = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Ask:
    """Pictures of one concept: for each its seed, and the category asked of it by attribute."""

    template: str
    concept: str
    seeds: Sequence[int]
    categories: Sequence[Mapping[str, str]]

    @property
    def prompt(self) -> str:
        return render(self.template, self.concept)


@dataclass(frozen=True)
class BaselineTask:
    """What a system may learn from: the words and concepts of FairGen's own recipe.

    `max_rows` bounds the rows through the denoiser that training may spend. The judge serves
    systems whose own method measures pictures while it learns.
    """

    attributes: Sequence[Attribute]
    concepts: Sequence[str]
    templates: Sequence[str]
    preserve: Sequence[str]
    sampling: Sampling
    judge: Judge
    max_rows: int
    seed: int = 0

    def words(self, categories: Mapping[str, str]) -> list[str]:
        """Return the words that name categories, in the order that the base obeys best."""
        return [
            attribute.category(categories[attribute.name]).word
            for attribute in reversed(self.attributes)
            if attribute.name in categories
        ]


@dataclass
class Cost:
    """What training has cost, in rows through the denoiser: with a gradient, and in all."""

    gradient_rows: int = 0
    denoiser_rows: int = 0


class System(ABC):
    """A way to paint asked categories with one base model.

    `knob` names the number that each is swept over, `settings` its values; those without one have
    a single setting. `rows_per_image` is what a guided picture costs at each step; the base model
    takes 2.
    """

    title: ClassVar[str]
    source: ClassVar[str] = ""
    knob: ClassVar[str] = ""
    settings: ClassVar[tuple[float, ...]] = (1.0,)
    rows_per_image: float = 2.0

    @classmethod
    def train(cls, backbone: Backbone, lesson: BaselineTask) -> tuple[Weights, Cost]:
        """Return what the system has learnt, and at what cost. Nothing, for most."""
        return {}, Cost()

    @abstractmethod
    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None: ...

    @abstractmethod
    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return one picture a seed; whatever a system hangs on the base model is off again."""

    def paint_in_batches(self, ask: Ask, sampling: Sampling, batch_size: int) -> list[Image.Image]:
        """Return the same pictures, so many at a time."""
        images: list[Image.Image] = []
        for start in range(0, len(ask.seeds), batch_size):
            part = slice(start, start + batch_size)
            some = replace(ask, seeds=ask.seeds[part], categories=ask.categories[part])
            images += self.paint(some, sampling)
        return images

    def close(self) -> None:  # noqa: B027
        """Take what the system has hung on the base model off for good."""


def sample(
    backbone: Backbone, seeds: Sequence[int], num_steps: int, predict: Predict
) -> list[Image.Image]:
    """Return the pictures that a prediction, `predict(x, t_N)`, leads to from the seeds' noise."""
    latents = sample_latents(backbone, seeds, num_steps, predict)
    return backbone.codec.pictures(backbone.codec.decode(latents))


@torch.no_grad()
def sample_latents(
    backbone: Backbone, seeds: Sequence[int], num_steps: int, predict: Predict
) -> Tensor:
    """Return the clean latents, N x C x h x w."""
    shape = backbone.latent_shape()
    solver = backbone.solver(num_steps)
    noise = [backbone.noise(shape, torch.Generator().manual_seed(seed)) for seed in seeds]
    x = solver.start * torch.stack(noise).to(backbone.device)
    pred_x0 = older_x0 = torch.zeros_like(x)
    for step_index in range(solver.num_steps):
        step_index_N = torch.full((len(seeds),), step_index)
        prediction = predict(x, solver.timesteps[step_index_N].to(x.device))
        x, clean = solver.step(prediction, x, pred_x0, step_index_N, older_x0)
        pred_x0, older_x0 = clean, pred_x0
    return x


def guided_rows(backbone: Backbone, num_rows: int, scale: float) -> GuidedRows:
    """Return the layout of a batch under one guidance scale."""
    return GuidedRows.all(num_rows) if backbone.is_guided(scale) else GuidedRows(num_rows, ())


def weight_at(backbone: Backbone, sampling: Sampling, step: int) -> float:
    """Return the guidance weight of a step: 1 where guidance is off."""
    is_on = sampling.is_guided(step)
    return backbone.guidance_weight(sampling.guidance_scale) if is_on else 1.0


def guided_prediction(backbone: Backbone, prompts: Sequence[str], sampling: Sampling) -> Predict:
    """Return classifier-free guidance of N prompts along the steps of one trajectory: one forward
    a step, laid out by `guided_rows`, also where guidance is off.
    """
    cache = PromptCache(backbone)
    layout = guided_rows(backbone, len(prompts), sampling.guidance_scale)
    context = cache.stack(layout.rows(prompts, [None] * len(prompts)))
    steps = count()

    def predict(x: Tensor, t_N: Tensor) -> Tensor:
        prediction = backbone.denoise(layout.repeat(x), layout.repeat(t_N), context)
        weight = weight_at(backbone, sampling, next(steps))
        return layout.combine(prediction, torch.full((len(x),), weight), backbone.guided)

    return predict
