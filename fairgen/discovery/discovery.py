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

import random
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional

from fairgen.adapters import Adapter, AdapterMetadata
from fairgen.attributes import Attribute, adapter_name
from fairgen.backbones import Backbone, PromptCache, put_channels_last
from fairgen.bank import AdapterBank
from fairgen.base_model import check_trains
from fairgen.discovery.config import DiscoveryConfig, DiscoveryStats
from fairgen.discovery.rows import TrainingRow, TrainingRowSource
from fairgen.gradients import clip_gradients, share_of_mean, sound_gradients, warmup_cosine
from fairgen.guidance import GuidedRows, guided
from fairgen.sampling import guided_steps


class Objective(nn.Module):
    """The part that takes gradients, the adapted prediction: what data parallelism wraps."""

    def __init__(self, backbone: Backbone, bank: AdapterBank) -> None:
        super().__init__()
        self.bank = bank
        self._denoise = backbone.denoise

    def forward(self, x: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor) -> Tensor:
        """Return the prediction for every row, N x C x h x w, under the gates that are set."""
        return self._denoise(x, t_N, context, guidance_N)


@dataclass(frozen=True)
class _Preservation:
    """Rows of the batch that also see a preservation prompt: their indices, one prompt each."""

    rows: list[int]
    prompts: list[str | None]


@dataclass(frozen=True)
class _FrozenPredictions:
    """What the frozen model predicts: g, no prompt for the rows that are `guided`, preservation
    prompts; `target` is the noise composition. `num_rows` went through the denoiser.
    """

    guided: GuidedRows
    eps_g: Tensor
    eps_empty: Tensor
    eps_keep: Tensor
    target: Tensor
    num_rows: int


class Discovery:
    """Trains all categories of one attribute in one batch; can stop and go on after any update.

    `attributes` are all that prompts may name; the first one's word stands next to the concept. The
    base model is frozen during an update, and its numbers stay as they are; on a CPU its
    convolutions lie with their channels last from then on. One thread may call it.
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
        """Begin from nothing, or from the adapters of an earlier round, `start`; `peers` are the
        frozen adapters of other attributes.

        Raises ValueError for a base that cannot train, or a category that the config names wrongly.
        """
        config.check_categories(attribute)
        check_trains(backbone.denoiser)
        backbone.codec.check(backbone.num_latent_channels)
        put_channels_last((backbone.denoiser,), backbone.device)
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
        guided_path = guided_steps(config.num_steps, config.guidance_interval)
        self._guided = guided_path if backbone.is_guided(config.guidance_scale) else range(0)
        self._prompts = PromptCache(backbone)
        self.bank = self._trainable_bank(start)
        self.peers = AdapterBank(
            backbone.denoiser,
            list(peers[0].directions) if peers else [],
            backbone.device,
            backbone.columns(),
        )
        peers_of: dict[str, list[str]] = {}
        for adapter in peers:
            self.peers.add(adapter.name, adapter.as_learnt().directions)
            peers_of.setdefault(adapter.metadata.attribute, []).append(adapter.metadata.category)
        self._source = TrainingRowSource(
            attribute=attribute,
            attributes=tuple(attributes) or (attribute,),
            concepts=tuple(concepts),
            templates=tuple(templates),
            peers=peers_of,
            mix_attributes=config.mix_attributes,
            counterfactual_probability=config.counterfactual_probability,
            peer_probability=config.peer_probability,
        )
        optimizer = torch.optim.AdamW(
            self.bank.parameters(), lr=config.learning_rate, weight_decay=0.0
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, config.warmup, config.num_updates)
        )
        self._objective, self._optimizer = self._accelerator.prepare(
            Objective(backbone, self.bank), optimizer
        )
        self.step = self.gradient_rows = self.denoiser_rows = 0
        self._rows: list[TrainingRow] = []
        self._x = torch.empty(0, device=backbone.device)

    @property
    def rows(self) -> Sequence[TrainingRow]:
        """The rows of the batch as they stand; the first look, or update, draws them."""
        if not self._rows:
            self._begin()
        return tuple(self._rows)

    def update(self) -> DiscoveryStats:
        """Take one optimiser step on every row's present state, then move every row along."""
        config, workers = self.config, self._accelerator.num_processes
        step_index_N = torch.tensor([row.step_index for row in self.rows])
        t_N = self._solver.timesteps[step_index_N].to(self._x.device)
        preservation = self._draw_preservation()
        frozen = self._predict_frozen(t_N, preservation)
        eps_k, losses = self._learn(t_N, preservation, frozen)
        self.step += 1
        N, num_kept = len(self._rows), len(preservation.rows)
        self.gradient_rows += N * workers
        self.denoiser_rows += (frozen.num_rows + N + num_kept) * workers
        leading = eps_k if config.on_policy else frozen.eps_g
        eps = torch.cat([leading, frozen.eps_empty])
        eps = frozen.guided.combine(eps, self._scales(N), self.backbone.guided)
        self._advance(eps, step_index_N)
        moved = (frozen.target - frozen.eps_g).square().sum().clamp(min=1e-12)
        error = ((eps_k - frozen.target).square().sum() / moved).sqrt()
        loss, keep, orth = (value.item() for value in losses)
        return DiscoveryStats(
            self.step, loss, keep, orth, error.item(), self.gradient_rows, self.denoiser_rows
        )

    def adapters(self, fingerprint: str, recipe_hash: str) -> list[Adapter]:
        """Return one adapter per category as it stands now, at its scale."""
        found, backbone, prompt = [], self.backbone, self._prompts.stack([""])
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
                denoiser_name=backbone.denoiser_name,
                at_positions=backbone.text_positions(prompt, self._x.shape) is not None,
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

    def peer_gates(self, num_kept: int) -> Tensor:
        """Return the gates of the peers, N rows x their adapters, zero for preservation prompts."""
        names = self.peers.names
        gates = torch.zeros(len(self.rows) + num_kept, len(names))
        for index, row in enumerate(self.rows):
            for name in row.peers:
                gates[index, names.index(name)] = 1.0
        return gates

    def orthogonality(self) -> Tensor:
        """Return the sum, over the layers that both adapt, of squared cosines with the directions
        of `orthogonal_to`.
        """
        total = torch.zeros((), device=self._x.device)
        for adapter in self._orthogonal_to:
            for path, (_, up) in adapter.directions.items():
                if path not in self.bank.projections:
                    continue
                ours = functional.normalize(self.bank.up(path), dim=0, eps=1e-8)
                theirs = functional.normalize(up.to(ours), dim=0, eps=1e-8)
                total = total + (ours.T @ theirs).square().sum()
        return total

    def _trainable_bank(self, start: Sequence[Adapter]) -> AdapterBank:
        """Return a bank with an adapter a category that trains, from `start` or from nothing."""
        backbone, config = self.backbone, self.config
        bank = AdapterBank(
            backbone.denoiser,
            backbone.projections(config.projections),
            backbone.device,
            backbone.columns(config.projections),
        )
        fresh = torch.Generator().manual_seed(config.seed)
        known = {adapter.name: adapter.as_learnt().directions for adapter in start}
        for category in self.attribute.names:
            name = adapter_name(self.attribute.name, category)
            bank.add_trainable(name, config.rank, fresh, known.get(name))
        return bank

    def _draw_preservation(self) -> _Preservation:
        rows = self._rng.sample(range(len(self._rows)), self.config.num_keep_rows)
        empty = None if self.backbone.classifier_free else ""
        prompts = [
            (self._rng.choice(self._preserve) if self._rng.random() < 0.5 else "") or empty
            for _ in rows
        ]
        return _Preservation(rows, prompts)

    @torch.no_grad()
    def _predict_frozen(self, t_N: Tensor, preservation: _Preservation) -> _FrozenPredictions:
        """Return the frozen model's predictions, all in one pass.

        No prompt is predicted for the rows that are guided anyway, so that there to preserve it
        costs no row of its own.
        """
        N, kept = len(self._rows), preservation.rows
        layout = GuidedRows.at([row.step_index for row in self._rows], self._guided)
        own = [
            i
            for i, (row, prompt) in enumerate(zip(kept, preservation.prompts, strict=True))
            if prompt or row not in layout.indices
        ]
        parts: list[tuple[Sequence[int], Sequence[str | None]]] = [
            (range(N), [row.neutral_prompt for row in self._rows]),
            (range(N), [row.category_prompt for row in self._rows]),
            (layout.indices, [None] * len(layout.indices)),
            ([kept[i] for i in own], [preservation.prompts[i] for i in own]),
        ]
        rows = [row for part, _ in parts for row in part]
        prompts = [prompt for _, part in parts for prompt in part]
        eps = self.backbone.denoise(
            self._x[rows], t_N[rows], self._prompts.stack(prompts), self._scales(len(rows))
        )
        eps_g, eps_d, eps_empty, eps_own = eps.split([len(part) for part, _ in parts])
        eps_keep = eps_g.new_empty(len(kept), *eps_g.shape[1:])
        for i, row in enumerate(kept):
            if i not in own:
                eps_keep[i] = eps_empty[layout.indices.index(row)]
        eps_keep[own] = eps_own
        names = self.attribute.names
        eta_N = torch.tensor([self.config.eta_of(names[row.category]) for row in self._rows])
        target = guided(eps_g, eps_d, eta_N.to(eps_g).view(-1, *(1,) * (eps_g.ndim - 1)))
        return _FrozenPredictions(layout, eps_g, eps_empty, eps_keep, target, len(rows))

    def _learn(
        self, t_N: Tensor, preservation: _Preservation, frozen: _FrozenPredictions
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Take the optimiser's step; return the adapted predictions, and the three losses."""
        config, N, kept = self.config, len(self._rows), preservation.rows
        adapted_prompts: list[str | None] = [row.adapted_prompt for row in self._rows]
        contexts = self._prompts.stack(adapted_prompts + preservation.prompts)
        rows = [*range(N), *kept]
        x, t_M, peers_MK = self._x[rows], t_N[rows], self.peer_gates(len(kept))
        gates_MK = torch.eye(len(self.attribute.names))[[self._rows[row].category for row in rows]]
        wanted, adapted = torch.cat([frozen.target, frozen.eps_keep]), torch.empty_like(x)
        loss, keep, orth = torch.zeros(3, device=x.device)
        for at in (parts := self.backbone.parts(contexts)):
            positions = self.backbone.text_positions(contexts[at], x.shape)
            is_last = at is parts[-1]
            # the gates stay set until the gradient is there: checkpoints are recomputed on its way
            with (
                sound_gradients(self.backbone.denoiser, x.shape[-2] * x.shape[-1]),
                nullcontext() if is_last else self._accelerator.no_sync(self._objective),
                self.bank.gated(gates_MK[at].to(x), positions),
                self.peers.gated(peers_MK[at], positions),
            ):
                eps = self._objective(x[at], t_M[at], contexts[at], self._scales(len(at)))
                adapted[at] = eps.detach()
                own = share_of_mean(eps, at, wanted, range(N))
                own_keep = share_of_mean(eps, at, wanted, range(N, len(x)))
                orth = self.orthogonality() if is_last and config.orth_weight else orth
                total = own + config.keep_weight * own_keep + config.orth_weight * orth
                self._accelerator.backward(total)
                loss, keep = loss + own.detach(), keep + own_keep.detach()
        clip_gradients(self.bank.parameters(), self.step + 1, self.backbone.dtype)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._schedule.step()
        return adapted[:N], (loss, keep, orth.detach())

    @torch.no_grad()
    def _begin(self) -> None:
        """Draw the first rows, denoise them to evenly spread steps: all noise levels are there."""
        config, num_steps = self.config, self._solver.num_steps
        N = config.num_rows
        self._rows = [self._source.draw(self._rng, i) for i in range(N)]
        shape = (N, *self.backbone.latent_shape())
        self._x = torch.randn(shape, generator=self._noise).to(self.backbone.device)
        ends = [index * num_steps // N for index in range(N)]
        for step_index in range(num_steps - 1):
            moving = [index for index in range(N) if ends[index] > step_index]
            if not moving:
                return
            x = self._x[moving]
            step_index_N = torch.full((len(moving),), step_index)
            layout = GuidedRows.at(step_index_N.tolist(), self._guided)
            t = self._solver.timesteps[step_index_N].to(x.device)
            prompts = [self._rows[index].adapted_prompt for index in moving]
            scale = self._scales(len(moving))
            eps = self.backbone.denoise(
                layout.repeat(x),
                layout.repeat(t),
                self._prompts.stack(layout.rows(prompts, [None] * len(moving))),
                layout.repeat(scale),
            )
            eps = layout.combine(eps, scale, self.backbone.guided)
            self._x[moving], _ = self._solver.step(eps, x, x, step_index_N)
            self.denoiser_rows += layout.num_denoiser_rows * self._accelerator.num_processes
            for index in moving:
                self._rows[index].step_index = step_index + 1

    def _advance(self, prediction: Tensor, step_index_N: Tensor) -> None:
        self._x, _ = self._solver.step(prediction, self._x, self._x, step_index_N)
        for index, row in enumerate(self._rows):
            row.step_index += 1
            if row.step_index == self._solver.num_steps:
                self._rows[index] = self._source.draw(self._rng, row.category + 1)
                self._x[index] = torch.randn(self._x.shape[1:], generator=self._noise).to(self._x)

    def _scales(self, num_rows: int) -> Tensor:
        """Return a guidance weight a row, or what models are told that embed it."""
        weight = self.backbone.guidance_weight(self.config.guidance_scale)
        return torch.full((num_rows,), weight, device=self._x.device)
