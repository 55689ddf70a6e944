"""Discovery: learn an adapter per category from what the frozen model knows, on its own paths.

What an adapter learns is a composition of what the frozen model does with a prompt that names the
category and without: of its predictions (`fairgen.discovery.predictions`), or of what its
cross-attention answers (`fairgen.discovery.attention`). The states are self-discovered: a model
denoises from noise. Source: arXiv 2412.18810, method section. Here every state of every trajectory
trains: the prediction of an update, under guidance, takes the row to its next state.

Directions that are right alone can be wrong together. So a joint round may follow: the frozen
adapters of other attributes, the peers, are on in a share of the rows. There g and d_k name the
peers' categories in words for the frozen model; the adapted model sees neither word.
"""

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from fairgen.adapters import Adapter, AdapterMetadata
from fairgen.attributes import Attribute, adapter_name
from fairgen.backbones import Backbone, PromptCache, put_channels_last
from fairgen.bank import AdapterBank
from fairgen.base_model import check_trains
from fairgen.discovery.adapting import Adapting, Batch
from fairgen.discovery.attention import AdaptedAttention, ComposedAttention
from fairgen.discovery.config import DiscoveryConfig, DiscoveryStats
from fairgen.discovery.predictions import AdaptedPrediction, ComposedPredictions
from fairgen.discovery.rows import TrainingRow, TrainingRowSource
from fairgen.gradients import clip_gradients, warmup_cosine
from fairgen.guidance import GuidedRows
from fairgen.sampling import guided_steps


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
        self.adapting = Adapting(
            backbone, self.bank, self.peers, self._prompts, config, attribute.names
        )
        optimizer = torch.optim.AdamW(
            self.bank.parameters(), lr=config.learning_rate, weight_decay=0.0
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: warmup_cosine(step, config.warmup, config.num_updates)
        )
        kind = AdaptedAttention if config.match == "attention" else AdaptedPrediction
        self._adapted, self._optimizer = self._accelerator.prepare(
            kind(backbone, self.bank), optimizer
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
        """Learn from every row's present state, then move every row along."""
        workers = self._accelerator.num_processes
        batch = self.batch()
        composed = self._composed(batch)
        loss, keep, orth = self._learn(composed)
        self.step += 1
        self.gradient_rows += composed.gradient_rows * workers
        self.denoiser_rows += composed.denoiser_rows * workers
        self._advance(composed.leading(), torch.tensor([row.step_index for row in batch.rows]))
        return DiscoveryStats(
            self.step, loss.item(), keep.item(), orth.item(), composed.relative_error.item(),
            self.gradient_rows, self.denoiser_rows,
        )  # fmt: skip

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

    def batch(self) -> Batch:
        """Return the rows as they stand, some with a prompt to preserve."""
        rows = self.rows
        step_indices = [row.step_index for row in rows]
        kept = self._rng.sample(range(len(rows)), self.config.num_keep_rows)
        has_none = self.backbone.classifier_free and not self.backbone.guides_apart
        empty = None if has_none else ""  # no prompt, as adapted layers read it
        preserved = [
            (self._rng.choice(self._preserve) if self._rng.random() < 0.5 else "") or empty
            for _ in kept
        ]
        return Batch(
            rows=rows,
            x=self._x,
            t_N=self._solver.timesteps[step_indices].to(self._x.device),
            guided=GuidedRows.at(step_indices, self._guided),
            kept=kept,
            preserved=preserved,
        )

    def _composed(self, batch: Batch) -> ComposedPredictions | ComposedAttention:
        if self.config.match == "attention":
            layers = self._accelerator.unwrap_model(self._adapted).layers
            return ComposedAttention(self.adapting, self._adapted, layers, batch, self._noise)
        no_sync = partial(self._accelerator.no_sync, self._adapted)
        return ComposedPredictions(self.adapting, self._adapted, batch, no_sync)

    def _learn(self, composed: ComposedPredictions | ComposedAttention) -> Sequence[Tensor]:
        """Take the optimiser's steps; return the three losses of the last."""
        config = self.config
        loss = keep = orth = torch.zeros((), device=self._x.device)
        for part in composed.losses():
            orth = self.orthogonality() if part.ends_step and config.orth_weight else orth
            total = part.composition + config.keep_weight * part.keep + config.orth_weight * orth
            self._accelerator.backward(total)
            loss, keep = loss + part.composition.detach(), keep + part.keep.detach()
            if part.ends_step:
                clip_gradients(self.bank.parameters(), self.step + 1, self.backbone.dtype)
                self._optimizer.step()
                self._optimizer.zero_grad()
                learnt = loss, keep, orth.detach()
                loss = keep = orth = torch.zeros_like(loss)
        self._schedule.step()
        return learnt

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
            prompts = [self._led_by(self._rows[index]) for index in moving]
            scale = self.adapting.scales(len(moving))
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

    def _led_by(self, row: TrainingRow) -> str:
        """Return the prompt of a row's path before there is anything learnt."""
        return row.category_prompt if self.config.match == "attention" else row.adapted_prompt

    def _advance(self, prediction: Tensor, step_index_N: Tensor) -> None:
        self._x, _ = self._solver.step(prediction, self._x, self._x, step_index_N)
        for index, row in enumerate(self._rows):
            row.step_index += 1
            if row.step_index == self._solver.num_steps:
                self._rows[index] = self._source.draw(self._rng, row.category + 1)
                self._x[index] = torch.randn(self._x.shape[1:], generator=self._noise).to(self._x)
