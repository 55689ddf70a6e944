"""Discovery watched: an actor that trains variants of it, and follows a hit rate as it rises."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.adapters import fingerprint, load_adapter
from fairgen.attributes import Attribute, render
from fairgen.backbones import load_backbone
from fairgen.baselines.gated import Gated, weights_of
from fairgen.baselines.official import Official
from fairgen.baselines.system import Ask, BaselineTask, Sampling, System, Weights
from fairgen.baselines.unmodified import Unmodified
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.indicator import TargetDistribution
from fairgen.judging import (
    EmbeddedImages,
    PromptScore,
    bootstrap_interval,
    drift,
    fairness_of,
    hit_rates,
    score_pictures,
)
from pipelines.experiments.comparison.systems import draw_categories
from pipelines.files import write
from pipelines.recipe.evaluation_config import EvaluationSize
from pipelines.recipe.recipe import Recipe

_POINTS = 12


class Ablated(BaseModel):
    """One variant: FD of the attribute by quota, mean over prompts, its lowest hit rate, and what
    it has kept; `drift` is of each attribute that was not asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    value: Any
    fd: float
    interval: tuple[float, float]
    hit_rate: float
    recognised: float
    ssim: float
    drift: dict[str, float]
    denoiser_rows: int


class Point(BaseModel):
    """How often pictures show what was asked once training has cost so many denoiser rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    denoiser_rows: int
    gradient_rows: int
    hit_rate: float


class Curve(BaseModel):
    """Hit rate over cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: list[Point]

    def reached(self, hit_rate: float) -> Point | None:
        """Return the first point with a hit rate."""
        return next((point for point in self.points if point.hit_rate >= hit_rate), None)


class AblationWorker:
    """One Ray actor a core; leaves a file for each variant and each curve."""

    def __init__(self, recipe: Recipe, others: Sequence[Path], folder: Path) -> None:
        """`others` are finished adapters of the attributes that are not ablated."""
        assert recipe.ablation is not None
        torch.set_num_threads(1)
        self._recipe, self._config, self._folder = recipe, recipe.ablation, folder
        self._backbone = load_backbone(recipe.load_pipe(), recipe.generation.size_px)
        self._fingerprint = fingerprint(self._backbone.denoiser)
        self._others = [load_adapter(path) for path in others]
        self._judge = recipe.load_judge()
        self._reference: dict[tuple[str, int], tuple[PromptScore, EmbeddedImages]] = {}

    def vary(self, setting: str, value: Any) -> None:
        """Train the adapters of one variant from nothing, and measure them."""
        name, size = self._config.attribute, self._config.sample
        discovery = self._discovery(name, changed(self._recipe.discovery_of(name), setting, value))
        while discovery.step < discovery.config.num_updates:
            discovery.update()
        weights = self._weights(discovery)
        discovery.bank.close()
        scores, base = self._measure(Gated, name, weights, 1.0, size)
        target = self._target(name)
        fds = [fairness_of(s, target, self._attributes).fd for s in scores]
        rates = hit_rates(scores, self._attributes[name])
        heads = [head for head in base[0].seen if head != name]
        found = Ablated(
            group=setting,
            value=value,
            fd=_mean(fds),
            interval=bootstrap_interval(fds),
            hit_rate=min(row[category] for category, row in rates.items()),
            recognised=_mean([float(seen) for s in scores for seen in s.recognised]),
            ssim=_mean([value for s in scores for value in s.ssim]),
            drift={
                head: _mean([drift(s, b, head) for s, b in zip(scores, base, strict=True)])
                for head in heads
            },
            denoiser_rows=discovery.denoiser_rows,
        )
        write(variant_path(self._folder, setting, value), found.model_dump_json())

    def learn(self) -> None:
        """Follow FairGen's hit rate to the end of its training, then the official loop's."""
        own = Curve(points=list(self._own_points()))
        write(curve_path(self._folder, "fairgen"), own.model_dump_json())
        reached = own.reached(self._config.hit_rate) or own.points[-1]
        max_rows = int(self._config.rival_rows * reached.denoiser_rows)
        rival = Curve(points=list(self._rival_points(max_rows)))
        write(curve_path(self._folder, "official"), rival.model_dump_json())

    @property
    def _attributes(self) -> dict[str, Attribute]:
        return {attribute.name: attribute for attribute in self._recipe.attributes}

    def _own_points(self) -> Iterator[Point]:
        name = self._config.learning
        discovery = self._discovery(name, self._recipe.discovery_of(name))
        every = max(1, discovery.config.num_updates // _POINTS)
        while discovery.step < discovery.config.num_updates:
            stats = discovery.update()
            if stats.step % every == 0 or stats.step == discovery.config.num_updates:
                rate = self._hit_rate(Gated, name, self._weights(discovery), (1.0,))
                yield Point(
                    denoiser_rows=stats.denoiser_rows,
                    gradient_rows=stats.gradient_rows,
                    hit_rate=rate,
                )
        discovery.bank.close()

    def _rival_points(self, max_rows: int) -> Iterator[Point]:
        name, seen = self._config.learning, 0
        lesson = self._lesson(name, max_rows)
        for pupil in Official.learning(self._backbone, lesson):
            cost = pupil.cost
            if cost.denoiser_rows >= max_rows * (seen + 1) / _POINTS:
                seen += 1
                rate = self._hit_rate(Official, name, pupil.weights(), Official.settings)
                yield Point(
                    denoiser_rows=cost.denoiser_rows,
                    gradient_rows=cost.gradient_rows,
                    hit_rate=rate,
                )

    def _discovery(self, name: str, config: DiscoveryConfig) -> Discovery:
        recipe = self._recipe
        return Discovery(
            self._backbone,
            recipe.attribute(name),
            recipe.concepts.train,
            recipe.templates,
            config,
            preserve=recipe.preserve,
            attributes=recipe.attributes,
            orthogonal_to=self._others if config.orth_weight else (),
        )

    def _weights(self, discovery: Discovery) -> Weights:
        adapters = discovery.adapters(self._fingerprint, self._recipe.recipe_hash)
        return weights_of({adapter.name: adapter.directions for adapter in adapters})

    def _lesson(self, name: str, max_rows: int) -> BaselineTask:
        recipe = self._recipe
        return BaselineTask(
            attributes=(recipe.attribute(name),),
            concepts=recipe.concepts.train,
            templates=recipe.templates,
            preserve=recipe.preserve,
            sampling=Sampling(recipe.generation.steps, recipe.generation.guidance_scale),
            judge=self._judge,
            max_rows=max_rows,
        )

    def _hit_rate(
        self, system: type[System], name: str, weights: Weights, settings: Sequence[float]
    ) -> float:
        """Return the share of pictures that show what was asked, at the best setting of a knob."""
        found = []
        for setting in settings:
            size = self._config.learning_sample
            scores, _ = self._measure(system, name, weights, setting, size)
            rows = hit_rates(scores, self._attributes[name])
            found.append(_mean([row[category] for category, row in rows.items()]))
        return max(found)

    def _measure(
        self,
        system: type[System],
        name: str,
        weights: Weights,
        setting: float,
        size: EvaluationSize,
    ) -> tuple[list[PromptScore], list[PromptScore]]:
        """Return a system's scores, its adapters asked by quota, and the base model's."""
        painter = system(self._backbone, self._lesson(name, 1), weights, setting)
        categories = draw_categories(
            self._target(name), "quota", size.num_images, self._recipe.evaluation.seed
        )
        scores, base = [], []
        for concept in size.concepts:
            base_score, reference = self._base(concept, size.num_images)
            images = self._paint(painter, concept, categories)
            scores.append(self._score(system.title, concept, images, categories, reference)[0])
            base.append(base_score)
        painter.close()
        return scores, base

    def _base(self, concept: str, num_images: int) -> tuple[PromptScore, EmbeddedImages]:
        if (concept, num_images) not in self._reference:
            painter = Unmodified(self._backbone, self._lesson(self._config.attribute, 1), {}, 1.0)
            images = self._paint(painter, concept, [{}] * num_images)
            self._reference[concept, num_images] = self._score(
                "base", concept, images, [{}] * num_images, None
            )
        return self._reference[concept, num_images]

    def _paint(
        self, painter: System, concept: str, categories: Sequence[dict[str, str]]
    ) -> list[Image.Image]:
        generation, first = self._recipe.generation, self._recipe.evaluation.seed
        sampling = Sampling(generation.steps, generation.guidance_scale)
        seeds = list(range(first, first + len(categories)))
        ask = Ask(self._recipe.templates[0], concept, seeds, categories)
        return painter.paint_in_batches(ask, sampling, generation.batch_size)

    def _score(
        self,
        system: str,
        concept: str,
        images: Sequence[Image.Image],
        categories: Sequence[dict[str, str]],
        reference: EmbeddedImages | None,
    ) -> tuple[PromptScore, EmbeddedImages]:
        return score_pictures(
            images,
            categories,
            system=system,
            concept=concept,
            prompt=render(self._recipe.templates[0], concept),
            attributes=self._recipe.attributes,
            judge=self._judge,
            reference=reference,
        )

    def _target(self, name: str) -> TargetDistribution:
        return TargetDistribution.from_request({name: "uniform"}, self._recipe.attributes)


def changed(config: DiscoveryConfig, setting: str, value: Any) -> DiscoveryConfig:
    """Return a config with one setting changed, checked; a strength is that of all categories. What
    is no setting, as the recipe's own variant, changes nothing.
    """
    changes = {setting: value} if setting in DiscoveryConfig.model_fields else {}
    if setting == "eta":
        changes["category_eta"] = {}
    return DiscoveryConfig.model_validate(config.model_dump() | changes)


def variant_path(folder: Path, setting: str, value: Any) -> Path:
    return folder / f"variant-{setting}-{value}.json"


def curve_path(folder: Path, name: str) -> Path:
    return folder / f"curve-{name}.json"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
