"""Fair Diffusion: semantic guidance towards the asked category and away from the others.

Source: Friedrich et al., arXiv 2302.10893, which guides by SEGA, Brack et al., arXiv 2301.12247,
method section. Legend: p the prompt, e an edit prompt, s_g guidance scale, s_e edit scale, nu
momentum.

    psi_e = eps(x, e) - eps(x, "")
    gamma = sum over e of +- s_e psi_e [|psi_e| >= its quantile lambda] + s_m nu
    nu   <- beta nu + (1 - beta) gamma
    prediction = eps(x, "") + s_g (eps(x, p) - eps(x, "")) + gamma      after the warm-up

It learns nothing, and pays at each step: one denoiser row for every category of an asked attribute.
"""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from tensordict import TensorDict
from torch import Tensor

from fairgen.attributes import Attribute, render
from fairgen.backbones import Backbone, PromptCache
from fairgen.baselines.system import (
    Ask,
    BaselineTask,
    Predict,
    System,
    Weights,
    sample,
    weight_at,
)
from fairgen.sampling import Sampling

QUANTILE = 0.9
WARMUP_SHARE = 0.2
MOMENTUM_SCALE, MOMENTUM_BETA = 0.3, 0.6


class FairDiffusion(System):
    """Guides every picture by an edit prompt a category; `setting` is the edit scale s_e."""

    title = "Fair Diffusion"
    source = "arXiv 2302.10893"
    knob = "edit scale"
    settings = (1.0, 2.0, 4.0, 6.0)

    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None:
        self._backbone, self._lesson, self._scale = backbone, lesson, setting
        self.rows_per_image = 2.0 + sum(len(a.categories) for a in lesson.attributes)

    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return pictures guided towards what is asked of each."""
        attributes = [a for a in self._lesson.attributes if a.name in ask.categories[0]]
        edits = [
            render(ask.template, "person", [category.word])
            for attribute in attributes
            for category in attribute.categories
        ]
        signs_NE = torch.tensor([edit_signs(attributes, asked) for asked in ask.categories])
        prompts = PromptCache(self._backbone)
        N = len(ask.seeds)
        context = prompts.stack([text for text in (None, ask.prompt, *edits) for _ in range(N)])
        return sample(
            self._backbone,
            ask.seeds,
            sampling.num_steps,
            self.prediction(context, signs_NE, sampling),
        )

    def prediction(self, context: TensorDict, signs_NE: Tensor, sampling: Sampling) -> Predict:
        N, E = signs_NE.shape
        weights = (self._scale * signs_NE.T).reshape(E, N, 1, 1, 1).to(self._backbone.device)
        warmup = round(WARMUP_SHARE * sampling.num_steps)
        momentum = torch.zeros(())
        step = 0

        def predict(x: Tensor, t_N: Tensor) -> Tensor:
            nonlocal momentum, step
            rows = self._backbone.denoise(
                x.repeat(2 + E, 1, 1, 1), t_N.repeat(2 + E), context
            ).reshape(2 + E, *x.shape)
            eps_empty, eps_prompt, psi = rows[0], rows[1], rows[2:] - rows[0]
            edit = (weights * strongest(psi, QUANTILE)).sum(0)
            edit = edit + MOMENTUM_SCALE * momentum
            momentum = MOMENTUM_BETA * momentum + (1 - MOMENTUM_BETA) * edit
            weight = weight_at(self._backbone, sampling, step)
            prediction = self._backbone.guided(eps_empty, eps_prompt, weight)
            step += 1
            return prediction + edit if step > warmup else prediction

        return predict


def edit_signs(attributes: Sequence[Attribute], asked: Mapping[str, str]) -> list[float]:
    """Return the sign of each category's edit: +1 for the asked, the others share -1."""
    return [
        1.0 if name == asked[attribute.name] else -1.0 / (len(attribute.names) - 1)
        for attribute in attributes
        for name in attribute.names
    ]


def strongest(psi: Tensor, quantile: float) -> Tensor:
    """Return edits, ... x C x h x w, zero where their size is under the channel's quantile."""
    size = psi.abs()
    threshold = torch.quantile(size.flatten(-2), quantile, dim=-1)[..., None, None]
    return torch.where(size >= threshold, psi, 0.0)
