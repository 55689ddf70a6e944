"""How strongly adapters act on a fine-tune of the model that they were learnt on.

A fine-tune that has learnt other people resists: the same adapters turn fewer of its pictures. How
many, its own predictions say, without a judge. A picture shows the category whose word lets the
frozen model tell best what noise has hidden of it (a diffusion classifier, arXiv 2303.16203). An
adapter's strength is the least at which its pictures show its category as often as at any, within
one standard error (the rule of Breiman et al., Classification and Regression Trees, 1984).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute, render
from fairgen.backbones import Backbone, PromptCache
from fairgen.bank import AdapterBank
from fairgen.guidance import GuidedRows
from fairgen.sampling import Sampling, guided_steps

STRENGTHS = (1.0, 1.25, 1.5, 1.75, 2.0)
# noise at which it shows who somebody is, in shares of the steps
_LEVELS = tuple(0.25 + 0.05 * index for index in range(9))
_LEAST_STEPS = 4  # of which some lie between noise and picture


@dataclass(frozen=True)
class StrengthFit:
    """The strength of an adapter, and the share of its `num_images` pictures that show its category
    by each that was tried.
    """

    strength: float
    shown: Mapping[float, float]
    num_images: int


class StrengthSearch:
    """Fits adapters to a frozen model by its own pictures, which stay latents. One thread may call
    it.
    """

    def __init__(
        self,
        backbone: Backbone,
        concepts: Sequence[str],
        templates: Sequence[str],
        sampling: Sampling,
        *,
        num_images: int = 48,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        """`num_images` are painted for each strength of each category, of all concepts in turn."""
        self._backbone, self._sampling, self._batch_size = backbone, sampling, batch_size
        self._subjects = [
            (templates[index % len(templates)], concepts[index % len(concepts)])
            for index in range(num_images)
        ]
        self._solver = backbone.training_solver(sampling.num_steps)
        self._reader = backbone.training_solver(max(sampling.num_steps, _LEAST_STEPS))
        self._prompts = PromptCache(backbone)
        draw = torch.Generator().manual_seed(seed)
        shape = backbone.latent_shape()
        self._first = torch.randn(num_images, *shape, generator=draw)
        self._noise = torch.randn(len(_LEVELS), num_images, *shape, generator=draw)

    def fit(self, attribute: Attribute, adapter: Adapter) -> tuple[Adapter, StrengthFit]:
        """Return an adapter of an attribute as one of this model, at its strength.

        Raises ValueError for one of a model of another structure, or of no category of the
        attribute.
        """
        fingerprint = self._backbone.fingerprint
        adapter.check_base(fingerprint, siblings=True)
        index = attribute.names.index(attribute.category(adapter.metadata.category).name)
        shown: dict[float, float] = {}
        for strength in STRENGTHS:
            shown[strength] = self._share(self._painted(adapter, strength), attribute, index)
            if shown[strength] == 1:
                break
        strength = self._least(shown)
        fit = StrengthFit(strength, shown, len(self._subjects))
        return adapter.fitted_to(fingerprint, strength), fit

    def _least(self, shown: Mapping[float, float]) -> float:
        """Return the least strength that is as good as the best, within a standard error; one
        picture of each kind is added, so that a share of 1 has an error, too.
        """
        num = len(self._subjects) + 2
        best = max(shown.values())
        share = (best * len(self._subjects) + 1) / num
        error = (share * (1 - share) / num) ** 0.5
        return min(strength for strength, found in shown.items() if found >= best - error)

    @torch.no_grad()
    def _painted(self, adapter: Adapter, strength: float) -> Tensor:
        """Return clean latents of pictures with an adapter on at a strength."""
        backbone, sampling = self._backbone, self._sampling
        bank = AdapterBank(
            backbone.denoiser, list(adapter.directions), backbone.device, backbone.columns()
        )
        bank.add(adapter.name, adapter.directions)
        guided = guided_steps(sampling.num_steps, sampling.guidance_interval)
        if not backbone.is_guided(sampling.guidance_scale):
            guided = range(0)
        found = []
        try:
            for rows in self._batches():
                x = self._first[rows].to(backbone.device)
                prompts = [render(*self._subjects[row]) for row in rows]
                for step in range(self._solver.num_steps):
                    layout = GuidedRows.at([step] * len(rows), guided)
                    gates = torch.full((len(rows), 1), strength, device=x.device)
                    eps = self._predicted(
                        layout.repeat(x),
                        self._solver.timesteps[step],
                        layout.rows(prompts, [None] * len(rows)),
                        (bank, layout.gates(gates)),
                    )
                    eps = layout.combine(eps, self._scales(len(rows)), backbone.guided)
                    x, _ = self._solver.step(eps, x, x, torch.full((len(rows),), step))
                found.append(x)
        finally:
            bank.close()
        return torch.cat(found)

    def _predicted(
        self,
        x: Tensor,
        t: Tensor,
        prompts: Sequence[str | None],
        on: tuple[AdapterBank, Tensor] | None = None,
    ) -> Tensor:
        """Return the predictions for rows, in parts where they cannot share a pass, with a bank
        under its gates or without one.
        """
        backbone, contexts = self._backbone, self._prompts.stack(prompts)
        t_N = t.to(x.device).expand(len(x))
        scales = self._scales(len(x))
        found = torch.empty_like(x)
        for at in backbone.parts(contexts):
            positions = backbone.text_positions(contexts[at], x.shape)
            with nullcontext() if on is None else on[0].gated(on[1][at], positions):
                found[at] = backbone.denoise(x[at], t_N[at], contexts[at], scales[at])
        return found

    @torch.no_grad()
    def _share(self, latents: Tensor, attribute: Attribute, index: int) -> float:
        """Return the share of pictures that show a category, by the model's own predictions."""
        errors = torch.zeros(len(latents), len(attribute.names))
        for rows in self._batches():
            clean = latents[rows]
            for other, category in enumerate(attribute.categories):  # its prompts are read once
                prompts = [render(*self._subjects[row], [category.word]) for row in rows]
                for noise, level in zip(self._noise, _LEVELS, strict=True):
                    step = round(level * (self._reader.num_steps - 1))
                    u, w, *_ = self._reader.table[step].tolist()
                    x = self._reader.noised(clean, noise[rows].to(clean), step)
                    found = self._predicted(x, self._reader.timesteps[step], prompts)
                    missed = (u * x + w * found - clean).square()
                    errors[rows, other] += missed.flatten(1).mean(1).float().cpu()
        return float((errors.argmin(1) == index).float().mean())

    def _batches(self) -> Iterator[list[int]]:
        rows = range(len(self._subjects))
        for start in range(0, len(rows), self._batch_size):
            yield list(rows[start : start + self._batch_size])

    def _scales(self, num_rows: int) -> Tensor:
        """Return a guidance weight a row, or what models are told that embed it."""
        weight = self._backbone.guidance_weight(self._sampling.guidance_scale)
        return torch.full((num_rows,), weight, device=self._backbone.device)
