"""Discovery: learn an adapter per category from what the frozen model knows, on its own paths.

Legend: k category, g neutral prompt, d_k the same prompt naming the category, p preservation
prompt, eta strength.

    target_k(x_t) = eps(x_t, g) + eta * (eps(x_t, d_k) - eps(x_t, g))
    L_k = || eps_k(x_t, g) - target_k(x_t) ||^2 + lambda_keep || eps_k(x_t, p) - eps(x_t, p) ||^2

eps stands for whatever the denoiser predicts (noise or velocity; the composition is linear in
both). x_t is self-discovered: the adapted model denoises from noise to t. Source: arXiv 2412.18810,
method section. Here every state of every trajectory trains: the gradient's own prediction, under
guidance, takes the row to its next state.

Directions that are right alone can be wrong together. So a joint round may follow: the frozen
adapters of other attributes, the peers, are on in a share of the rows. There g and d_k name the
peers' categories in words for the frozen model; the adapted model sees neither word.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional

from fairgen.adapters import Adapter, AdapterMetadata
from fairgen.attributes import Attribute, adapter_name
from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank
from fairgen.gradients import clip_gradients, sound_attention
from fairgen.rows import TrainingRow, TrainingRowSource


class DiscoveryConfig(BaseModel):
    """How adapters are learnt.

    `category_eta` is the strength of single categories instead of `eta`: on a scale, such as skin
    tones, the middle needs another than the ends. `category_scale` multiplies a category's
    finished directions, where the category is drawn too seldom. Training uses the unscaled
    directions: otherwise the joint round would learn to cancel `category_scale`.
    `counterfactual_probability` is the share of rows whose neutral prompt names another category.
    `peer_probability` is the share of rows with peers in a joint round. `orth_weight` keeps the
    directions apart from those of the peers. With `on_policy` the adapted model's predictions lead
    from state to state, otherwise the frozen model's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    eta: float = Field(default=2.0, gt=0)
    category_eta: dict[str, Annotated[float, Field(gt=0)]] = {}
    category_scale: dict[str, Annotated[float, Field(gt=0)]] = {}
    rank: int = Field(default=1, ge=1)
    num_updates: int = Field(default=150, ge=1)
    num_rows: int = Field(default=24, ge=2)
    num_steps: int = Field(default=12, ge=2)
    guidance_scale: float = Field(default=2.0, ge=1)
    learning_rate: float = Field(default=1e-2, gt=0)
    warmup: int = Field(default=10, ge=0)
    keep_weight: float = Field(default=1.0, ge=0)
    orth_weight: float = Field(default=0.0, ge=0)
    mix_attributes: float = Field(default=0.5, ge=0, le=1)
    counterfactual_probability: float = Field(default=0.5, ge=0, le=1)
    peer_probability: float = Field(default=0.7, ge=0, le=1)
    on_policy: bool = True
    projections: str = Field(default="qkvo", pattern="^[qkvo]+$")
    seed: int = 0

    def eta_of(self, category: str) -> float:
        """Return a category's strength."""
        return self.category_eta.get(category, self.eta)

    def check_categories(self, attribute: Attribute) -> None:
        """Raise ValueError where a setting names a category that the attribute does not have."""
        for field in ("category_eta", "category_scale"):
            if unknown := sorted(set(getattr(self, field)) - set(attribute.names)):
                raise ValueError(f"{field}: got {unknown}, allowed are {list(attribute.names)}")


@dataclass(frozen=True)
class DiscoveryStats:
    """One update's losses, and what training has cost so far in rows through the denoiser."""

    step: int
    loss: float
    keep: float
    orth: float
    relative_error: float
    gradient_rows: int
    denoiser_rows: int


class Objective(nn.Module):
    """The part that takes gradients, the adapted prediction: what data parallelism wraps."""

    def __init__(self, backbone: Backbone, bank: AdapterBank) -> None:
        super().__init__()
        self.bank = bank
        self._denoise = backbone.denoise

    def forward(self, x: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor) -> Tensor:
        """Return the prediction for every row, N x C x h x w, under the gates that are set."""
        return self._denoise(x, t_N, context, guidance_N)


class Discovery:
    """Trains all categories of one attribute in one batch; can stop and go on after any update.

    `attributes` are all that prompts may name; the first one's word stands next to the concept.
    """

    def __init__(
        self,
        backbone: Backbone,
        attribute: Attribute,
        concepts: Sequence[str],
        templates: Sequence[str],
        config: DiscoveryConfig,
        *,
        preserve: Sequence[str] = ("",),
        attributes: Sequence[Attribute] = (),
        orthogonal_to: Sequence[Adapter] = (),
        start: Sequence[Adapter] = (),
        peers: Sequence[Adapter] = (),
        accelerator: Accelerator | None = None,
    ) -> None:
        config.check_categories(attribute)
        self.backbone, self.attribute, self.config = backbone, attribute, config
        self._preserve, self._orthogonal_to = tuple(preserve), tuple(orthogonal_to)
        # all is placed already, and a process that has learnt elsewhere before would move it there
        self._accelerator = accelerator or Accelerator(
            cpu=backbone.device.type == "cpu", device_placement=False
        )
        index = self._accelerator.process_index
        self._rng = random.Random(config.seed * 1000 + index)
        self._noise = torch.Generator().manual_seed(config.seed * 1000 + index)
        self._solver = backbone.training_solver(config.num_steps)
        self._contexts: dict[str, TensorDict] = {}
        self.bank = AdapterBank(
            backbone.denoiser, backbone.projections(config.projections), backbone.device
        )
        fresh = torch.Generator().manual_seed(config.seed)
        known = {adapter.name: adapter.as_learnt().directions for adapter in start}
        for category in attribute.names:
            name = adapter_name(attribute.name, category)
            self.bank.add_trainable(name, config.rank, fresh, known.get(name))
        self._peers = AdapterBank(
            backbone.denoiser, list(peers[0].directions) if peers else [], backbone.device
        )
        peers_of: dict[str, list[str]] = {}
        for adapter in peers:
            self._peers.add(adapter.name, adapter.as_learnt().directions)
            of_attribute = peers_of.setdefault(adapter.metadata.attribute, [])
            of_attribute.append(adapter.metadata.category)
        self._source = TrainingRowSource(
            attribute,
            tuple(attributes) or (attribute,),
            tuple(concepts),
            tuple(templates),
            peers_of,
            config.mix_attributes,
            config.counterfactual_probability,
            config.peer_probability,
        )
        optimizer = torch.optim.AdamW(
            self.bank.parameters(), lr=config.learning_rate, weight_decay=0.0
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        self._objective, self._optimizer = self._accelerator.prepare(
            Objective(backbone, self.bank), optimizer
        )
        self.step = self.gradient_rows = self.denoiser_rows = 0
        self._rows = [self._source.draw(self._rng, i) for i in range(config.num_rows)]
        shape = (config.num_rows, *backbone.latent_shape())
        self._x = torch.randn(shape, generator=self._noise).to(backbone.device)
        self._spread_out()

    def update(self) -> DiscoveryStats:
        """Take one optimiser step on every row's present state, then move every row along."""
        config, N = self.config, self.config.num_rows
        keep_rows = self._rng.sample(range(N), max(1, N // 3))
        keep_prompts = [
            self._rng.choice(self._preserve) if self._rng.random() < 0.5 else "" for _ in keep_rows
        ]
        # under classifier-free guidance "" is predicted for every row anyway
        free = self.backbone.classifier_free
        asked = [i for i, prompt in enumerate(keep_prompts) if prompt or not free]
        asked_rows = [keep_rows[i] for i in asked]
        step_index = torch.tensor([row.step_index for row in self._rows])
        t = self._solver.timesteps[step_index].to(self._x.device)
        neutral = self._context([row.neutral_prompt for row in self._rows])
        told = self._context([row.adapted_prompt for row in self._rows])
        kept = self._context(keep_prompts)
        named, empty = (
            self._context([row.category_prompt for row in self._rows]),
            self._context([""] * N),
        )
        everyone = list(range(N))
        wanted = [everyone, everyone, everyone if free else [], asked_rows]
        rows = list(chain(*wanted))
        with torch.no_grad():
            frozen = self.backbone.denoise(
                self._x[rows],
                t[rows],
                torch.cat([neutral, named, empty[wanted[2]], kept[asked]]),
                self._guidance(len(rows)),
            )
        eps_g, eps_d, eps_empty, eps_asked = frozen.split([len(part) for part in wanted])
        eps_keep = eps_empty[keep_rows] if free else torch.empty_like(eps_asked)
        eps_keep[asked] = eps_asked
        eta = torch.tensor([config.eta_of(self.attribute.names[r.category]) for r in self._rows])
        target = eps_g + eta.to(eps_g).view(-1, *(1,) * (eps_g.ndim - 1)) * (eps_d - eps_g)

        gates = torch.eye(len(self.attribute.names))[[row.category for row in self._rows]].to(
            self._x
        )
        peer_gates = self._peer_gates(len(keep_rows))
        # the gates stay set until the gradient is there: checkpoints are recomputed on its way
        with (
            sound_attention(),
            self.bank.gated(torch.cat([gates, gates[keep_rows]])),
            self._peers.gated(peer_gates),
        ):
            adapted = self._objective(
                torch.cat([self._x, self._x[keep_rows]]),
                torch.cat([t, t[keep_rows]]),
                torch.cat([told, kept]),
                self._guidance(N + len(keep_rows)),
            )
            eps_k, eps_kept = adapted.split([N, len(keep_rows)])
            loss = functional.mse_loss(eps_k, target)
            keep = functional.mse_loss(eps_kept, eps_keep)
            orth = self.orthogonality() if config.orth_weight else torch.zeros(())
            self._accelerator.backward(loss + config.keep_weight * keep + config.orth_weight * orth)
        clip_gradients(self.bank.parameters(), self.step + 1, self.backbone.dtype)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        self.step += 1
        workers = self._accelerator.num_processes
        self.gradient_rows += N * workers
        self.denoiser_rows += (len(rows) + N + len(keep_rows)) * workers
        leading = eps_k.detach() if config.on_policy else eps_g
        if free:
            leading = eps_empty + config.guidance_scale * (leading - eps_empty)
        self._advance(leading, step_index)
        error = (eps_k.detach() - target).square().sum() / (target - eps_g).square().sum().clamp(
            min=1e-12
        )
        return DiscoveryStats(
            self.step,
            loss.item(),
            keep.item(),
            orth.item(),
            error.sqrt().item(),
            self.gradient_rows,
            self.denoiser_rows,
        )

    def adapters(self, fingerprint: str, recipe_hash: str) -> list[Adapter]:
        """Return one adapter per category as it stands now, at its scale."""
        found = []
        for category in self.attribute.categories:
            scale = self.config.category_scale.get(category.name, 1.0)
            metadata = AdapterMetadata(
                attribute=self.attribute.name,
                category=category.name,
                word=category.word,
                base_fingerprint=fingerprint,
                rank=self.config.rank,
                alpha=self.config.rank,
                eta=self.config.eta_of(category.name),
                projections=self.config.projections,
                recipe_hash=recipe_hash,
                scale=scale,
                denoiser_name=self.backbone.denoiser_name,
            )
            learnt = self.bank.directions(adapter_name(self.attribute.name, category.name))
            directions = {path: (a.cpu(), scale * b.cpu()) for path, (a, b) in learnt.items()}
            found.append(Adapter(metadata, directions))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next update depends on: tensors, numbers and strings only."""
        version, internal, gauss = self._rng.getstate()
        return {
            "bank": self.bank.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "x": self._x,
            "noise": self._noise.get_state(),
            "rng": [version, list(internal), gauss],
            "rows": [vars(row) for row in self._rows],
            "counts": [self.step, self.gradient_rows, self.denoiser_rows],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken."""
        self.bank.load_state_dict(state["bank"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._x = state["x"].to(self.backbone.device)
        self._noise.set_state(state["noise"])
        version, internal, gauss = state["rng"]
        self._rng.setstate((version, tuple(internal), gauss))
        self._rows = [TrainingRow(**row) for row in state["rows"]]
        self.step, self.gradient_rows, self.denoiser_rows = state["counts"]

    @torch.no_grad()
    def _spread_out(self) -> None:
        """Denoise the first rows to evenly spread places: every batch holds every noise level."""
        N, num_steps = len(self._rows), self._solver.num_steps
        free = self.backbone.classifier_free
        wanted = [index * num_steps // N for index in range(N)]
        for step_index in range(num_steps - 1):
            moving = [index for index in range(N) if wanted[index] > step_index]
            if not moving:
                return
            x = self._x[moving]
            t = self._solver.timesteps[[step_index] * len(moving)].to(x.device)
            rows = list(range(len(moving))) * (2 if free else 1)
            context = self._context(
                [self._rows[index].adapted_prompt for index in moving]
                + [""] * (len(rows) - len(moving))
            )
            leading, eps_empty = self.backbone.denoise(
                x[rows], t[rows], context, self._guidance(len(rows))
            ).split([len(moving), len(rows) - len(moving)])
            if free:
                leading = eps_empty + self.config.guidance_scale * (leading - eps_empty)
            self._x[moving], _ = self._solver.step(
                leading, x, x, torch.tensor([step_index] * len(moving))
            )
            self.denoiser_rows += len(rows) * self._accelerator.num_processes
            for index in moving:
                self._rows[index].step_index = step_index + 1

    def _advance(self, prediction: Tensor, step_index: Tensor) -> None:
        self._x, _ = self._solver.step(prediction, self._x, self._x, step_index)
        for index, row in enumerate(self._rows):
            row.step_index += 1
            if row.step_index == self._solver.num_steps:
                self._rows[index] = self._source.draw(self._rng, row.category + 1)
                self._x[index] = torch.randn(self._x.shape[1:], generator=self._noise).to(self._x)

    def _guidance(self, num_rows: int) -> Tensor:
        """Return what a model that is told its guidance is told, a scale a row."""
        return torch.full((num_rows,), self.config.guidance_scale, device=self._x.device)

    def _peer_gates(self, num_kept: int) -> Tensor:
        """Return the gates of the peers, N rows x their adapters, zero for preservation prompts."""
        names = self._peers.names
        gates = torch.zeros(len(self._rows) + num_kept, len(names))
        for index, row in enumerate(self._rows):
            for name in row.peers:
                gates[index, names.index(name)] = 1.0
        return gates

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, self.config.warmup))
        return warm * (
            0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.config.num_updates)))
        )

    def _context(self, prompts: Sequence[str]) -> TensorDict:
        """Return N embeddings, each prompt encoded once.

        And each on its own: encoded beside others it would differ in the last bits, and a resumed
        run, which batches them otherwise, would not end in the same weights.
        """
        for prompt in prompts:
            if prompt not in self._contexts:
                self._contexts[prompt] = self.backbone.encode([prompt])[0]
        return torch.stack([self._contexts[prompt] for prompt in prompts])

    def orthogonality(self) -> Tensor:
        """Return the sum, over the layers that both adapt, of squared cosines with the directions
        of `orthogonal_to`.
        """
        total = torch.zeros((), device=self._x.device)
        for adapter in self._orthogonal_to:
            for path, (_, up) in adapter.directions.items():
                if path.replace(".", "/") not in self.bank.B:
                    continue
                ours = functional.normalize(self.bank.B[path.replace(".", "/")], dim=0, eps=1e-8)
                theirs = functional.normalize(up.to(ours), dim=0, eps=1e-8)
                total = total + (ours.T @ theirs).square().sum()
        return total
