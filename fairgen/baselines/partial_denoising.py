"""The training loop of the published low-rank rivals: each gradient pays for its own trajectory.

A row starts from noise, the adapted model denoises it to a random step, and there the adapter of
its category learns from what the frozen model predicts:

    L = E || eps_k(x_t, adapted_prompt) - sum over j of w_j eps(x_t, prompt_j) ||^2

Sources: the official code of arXiv 2412.18810, and arXiv 2311.12092. Adapters sit on all four
cross-attention projections and act on both branches of guidance. Their batch of one is a batch of
`NUM_ROWS` here, over the categories of all attributes; no row meets another's adapter.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fairgen.attributes import adapter_name
from fairgen.backbones import Backbone, PromptCache
from fairgen.bank import AdapterBank
from fairgen.baselines.gated import named_tensors
from fairgen.baselines.system import BaselineTask, Cost, Weights
from fairgen.gradients import clip_gradients, sound_gradients
from fairgen.guidance import GuidedRows

NUM_ROWS = 16
GUIDANCE_SCALE = 3.0
WARMUP = 10


@dataclass(frozen=True)
class Example:
    """What a row learns: the adapted model's prompt, and `target`, the frozen model's prompts with
    their weights.
    """

    adapted_prompt: str
    target: Mapping[str, float]


def learn(
    backbone: Backbone,
    lesson: BaselineTask,
    example: Callable[[random.Random, str, str], Example],
    *,
    rank: int,
    learning_rate: float,
) -> tuple[Weights, Cost]:
    """Return an adapter a category; `example(rng, attribute, category)` makes a row's lesson.

    Training ends when the next update would spend more than the lesson's rows.
    """
    *_, last = learning(backbone, lesson, example, rank=rank, learning_rate=learning_rate)
    return last.weights(), last.cost


def learning(
    backbone: Backbone,
    lesson: BaselineTask,
    example: Callable[[random.Random, str, str], Example],
    *,
    rank: int,
    learning_rate: float,
) -> Iterator["LowRankTrainer"]:
    """Yield what is learnt after every update of `learn`, for those who watch it."""
    pupil = LowRankTrainer(backbone, lesson, rank, learning_rate)
    try:
        while pupil.cost.denoiser_rows < lesson.max_rows:
            pupil.update(example)
            yield pupil
    finally:
        pupil.bank.close()


class LowRankTrainer:
    """The adapters that are being learnt, and what it has cost so far."""

    def __init__(
        self,
        backbone: Backbone,
        lesson: BaselineTask,
        rank: int,
        learning_rate: float,
    ) -> None:
        self._backbone, self._lesson = backbone, lesson
        self.cost = Cost()
        self._rng = random.Random(lesson.seed)
        self._noise = torch.Generator().manual_seed(lesson.seed)
        self._solver = backbone.training_solver(lesson.sampling.num_steps)
        self._prompts = PromptCache(backbone)
        self._categories = [(a.name, c) for a in lesson.attributes for c in a.names]
        self.bank = AdapterBank(backbone.denoiser, backbone.projections("qkvo"))
        fresh = torch.Generator().manual_seed(lesson.seed)
        for category in self._categories:
            self.bank.add_trainable(adapter_name(*category), rank, fresh)
        self._optimizer = torch.optim.AdamW(
            self.bank.parameters(), lr=learning_rate, weight_decay=0.0
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)

    def weights(self) -> Weights:
        """Return an adapter a category as it stands."""
        return named_tensors({name: self.bank.directions(name) for name in self.bank.names})

    def _rate(self, update: int) -> float:
        """Warm up, then fall in a straight line with what is left of the rows."""
        left = 1 - self.cost.denoiser_rows / self._lesson.max_rows
        return min(1.0, (update + 1) / WARMUP) * max(0.05, left)

    def update(self, example: Callable[[random.Random, str, str], Example]) -> None:
        """Take one optimiser step on fresh rows."""
        chosen = [self._rng.randrange(len(self._categories)) for _ in range(NUM_ROWS)]
        examples = [example(self._rng, *self._categories[index]) for index in chosen]
        gates = torch.eye(len(self._categories))[chosen].to(self._backbone.device)
        prompts = [example.adapted_prompt for example in examples]
        x, t_N = self._denoised(prompts, gates)
        target = self._target(examples, x, t_N)
        with sound_gradients(self._backbone.denoiser), self.bank.gated(gates):
            adapted = self._backbone.denoise(x, t_N, self._prompts.stack(prompts))
            functional.mse_loss(adapted, target).backward()
        update = self.cost.gradient_rows // NUM_ROWS + 1
        clip_gradients(self.bank.parameters(), update, self._backbone.dtype)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        self.cost.gradient_rows += NUM_ROWS
        self.cost.denoiser_rows += NUM_ROWS

    @torch.no_grad()
    def _denoised(self, adapted: Sequence[str], gates: Tensor) -> tuple[Tensor, Tensor]:
        """Return states of the adapted model's own trajectories at random steps, and times."""
        solver = self._solver
        x = torch.randn(len(adapted), *self._backbone.latent_shape(), generator=self._noise)
        x = x.to(self._backbone.device)
        ends = [self._rng.randrange(solver.num_steps) for _ in adapted]
        for step_index in range(max(ends)):
            moving = [row for row, end in enumerate(ends) if end > step_index]
            states, own = x[moving], gates[moving]
            step_index_N = torch.full((len(moving),), step_index)
            t_N = solver.timesteps[step_index_N].to(x.device)
            layout = GuidedRows.all(len(moving))
            prompts = layout.rows([adapted[i] for i in moving], [None] * len(moving))
            with self.bank.gated(layout.repeat(own)):
                eps = self._backbone.denoise(
                    layout.repeat(states), layout.repeat(t_N), self._prompts.stack(prompts)
                )
            scale = torch.full((len(moving),), GUIDANCE_SCALE)
            eps_guided = layout.combine(eps, scale, self._backbone.guided)
            x[moving], _ = solver.step(eps_guided, states, states, step_index_N)
            self.cost.denoiser_rows += 2 * len(moving)
        return x, solver.timesteps[ends].to(x.device)

    @torch.no_grad()
    def _target(self, examples: Sequence[Example], x: Tensor, t_N: Tensor) -> Tensor:
        """Return each row's weighted sum of the frozen model's predictions, in one forward."""
        owner = [row for row, found in enumerate(examples) for _ in found.target]
        prompts = [prompt for found in examples for prompt in found.target]
        weights = torch.tensor([w for found in examples for w in found.target.values()]).to(x)
        frozen = self._backbone.denoise(x[owner], t_N[owner], self._prompts.stack(prompts))
        self.cost.denoiser_rows += len(owner)
        weighted = weights.view(-1, *(1,) * (x.ndim - 1)) * frozen
        return torch.zeros_like(x).index_add_(0, torch.tensor(owner).to(x.device), weighted)
