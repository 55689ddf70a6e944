"""Interpretable directions in the UNet's middle, learnt from the model's own pictures.

Source: Li et al., "Self-discovering interpretable diffusion latent directions", arXiv 2311.17216,
method section. For category k: paint with the prompt that names k; then find the one vector c_k,
the same at all times, with which the frozen model denoises those pictures under the neutral prompt,

    min over c_k of E || noise - eps(x_t, g; h + c_k) ||^2,    h the output of the middle block.

Asked categories add their vectors, times a scale, in the conditional rows, where guidance
strengthens them.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import DDIMScheduler
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from fairgen.attributes import adapter_name, render
from fairgen.backbones import Backbone, PromptCache
from fairgen.baselines.system import (
    Ask,
    BaselineTask,
    Cost,
    System,
    Weights,
    guided_prediction,
    guided_rows,
    sample,
    sample_latents,
)
from fairgen.gradients import sound_gradients
from fairgen.sampling import Sampling

NUM_ROWS = 32
LEARNING_RATE = 1e-2
SHARE_OF_PICTURES = 0.3


class HSpace(System):
    """Adds a vector a category to the middle block's output; `setting` is their scale."""

    title = "h-space vectors"
    source = "arXiv 2311.17216"
    knob = "scale"
    settings = (1.0, 2.0, 3.0, 4.0)

    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None:
        self._backbone, self._vectors, self._scale = backbone, weights, setting

    @classmethod
    def train(cls, backbone: Backbone, lesson: BaselineTask) -> tuple[Weights, Cost]:
        """Return a vector C x h x w a category, learnt on its own pictures."""
        return _Training(backbone, lesson).run()

    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return pictures with the vectors of what is asked added."""
        added = torch.stack(
            [
                torch.stack([self._vectors[adapter_name(*item)] for item in asked.items()]).sum(0)
                for asked in ask.categories
            ]
        )
        added = self._scale * added.to(self._backbone.device)
        layout = guided_rows(self._backbone, len(ask.seeds), sampling.guidance_scale)
        added = torch.cat([added, torch.zeros_like(added[list(layout.indices)])])
        prompts = [ask.prompt] * len(ask.seeds)
        predict = guided_prediction(self._backbone, prompts, sampling)
        with shifted(self._backbone, added):
            return sample(self._backbone, ask.seeds, sampling.num_steps, predict)


@contextmanager
def shifted(backbone: Backbone, added: Tensor) -> Iterator[None]:
    """Add a tensor, N x C x h x w, to the middle block's output inside the `with`.

    Raises ValueError for a denoiser without a middle block.
    """
    handle = _middle(backbone).register_forward_hook(lambda *call: call[-1] + added)
    try:
        yield
    finally:
        handle.remove()


def _middle(backbone: Backbone) -> nn.Module:
    found = getattr(backbone.denoiser, "mid_block", None)
    if found is None:
        kind = type(backbone.denoiser).__name__
        raise ValueError(f"base: got a {kind}, which has no middle block; allowed are UNets")
    return found


class _Training:
    def __init__(self, backbone: Backbone, lesson: BaselineTask) -> None:
        self._backbone, self._lesson, self._cost = backbone, lesson, Cost()
        self._prompts = PromptCache(backbone)
        self._rng = random.Random(lesson.seed)
        self._noise = torch.Generator().manual_seed(lesson.seed)
        self._named = {
            adapter_name(attribute.name, category.name): category.word
            for attribute in lesson.attributes
            for category in attribute.categories
        }

    def run(self) -> tuple[Weights, Cost]:
        scheduler = DDIMScheduler.from_config(self._backbone.pipe.scheduler.config)
        owner, prompts, latents = self._pictures()
        vectors = nn.Parameter(self._empty_vectors())
        optimizer = torch.optim.Adam([vectors], lr=LEARNING_RATE)
        while self._cost.denoiser_rows + NUM_ROWS <= self._lesson.max_rows:
            chosen = [self._rng.randrange(len(owner)) for _ in range(NUM_ROWS)]
            x_0 = latents[chosen]
            noise = torch.randn(x_0.shape, generator=self._noise).to(x_0)
            t_N = torch.randint(
                scheduler.config.num_train_timesteps, (NUM_ROWS,), generator=self._noise
            ).to(x_0.device)
            velocity = scheduler.config.prediction_type == "v_prediction"
            wanted = scheduler.get_velocity(x_0, noise, t_N) if velocity else noise
            context = self._prompts.stack([prompts[index] for index in chosen])
            rows = vectors[[owner[index] for index in chosen]]
            with sound_gradients(self._backbone.denoiser), shifted(self._backbone, rows):
                predicted = self._backbone.denoise(
                    scheduler.add_noise(x_0, noise, t_N), t_N, context
                )
                optimizer.zero_grad()
                functional.mse_loss(predicted, wanted).backward()
            optimizer.step()
            self._cost.gradient_rows += NUM_ROWS
            self._cost.denoiser_rows += NUM_ROWS
        found = dict(zip(self._named, vectors.detach().cpu().unbind(), strict=True))
        return {name: vector.contiguous() for name, vector in found.items()}, self._cost

    def _pictures(self) -> tuple[list[int], list[str], Tensor]:
        """Return the category, the neutral prompt and the clean latents of the model's pictures."""
        lesson, steps = self._lesson, self._lesson.sampling.num_steps
        budget = SHARE_OF_PICTURES * lesson.max_rows
        batches = max(1, int(budget / (2 * steps * NUM_ROWS)))
        owner, prompts, latents = [], [], []
        for batch in range(batches):
            named = []
            for row in range(NUM_ROWS):
                owner.append(row % len(self._named))
                word = list(self._named.values())[owner[-1]]
                template = self._rng.choice(lesson.templates)
                concept = self._rng.choice(lesson.concepts)
                prompts.append(render(template, concept))
                named.append(render(template, concept, [word]))
            seeds = [lesson.seed + batch * NUM_ROWS + row for row in range(NUM_ROWS)]
            predict = guided_prediction(self._backbone, named, lesson.sampling)
            latents.append(sample_latents(self._backbone, seeds, steps, predict))
            self._cost.denoiser_rows += 2 * steps * NUM_ROWS
        return owner, prompts, torch.cat(latents).clone()

    def _empty_vectors(self) -> Tensor:
        """Return zeros, categories x C x h x w, as the middle block's output is shaped."""
        seen: list[torch.Size] = []
        handle = _middle(self._backbone).register_forward_hook(
            lambda *call: seen.append(call[-1].shape)
        )
        x = torch.zeros(1, *self._backbone.latent_shape(), device=self._backbone.device)
        with torch.no_grad():
            self._backbone.denoise(x, torch.zeros(1, device=x.device), self._prompts.stack([""]))
        handle.remove()
        return torch.zeros(len(self._named), *seen[0][1:], device=x.device)
