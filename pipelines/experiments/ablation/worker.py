"""The actor of an ablation: it trains variants of discovery, and follows a hit rate as it rises."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fairgen.adapters import Adapter, load_adapter
from fairgen.baselines import Official
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.indicator import TargetDistribution
from fairgen.judging import (
    EmbeddedImages,
    PromptScore,
    ShareSample,
    cell_counts,
    drift,
    hit_rates,
    mean_counted,
)
from pipelines.evaluation import ImageSource, measure_prompt, plan_prompt
from pipelines.experiments.ablation.results import (
    Curve,
    Point,
    Variant,
    curve_path,
    variant_path,
)
from pipelines.experiments.worker import MethodRunner
from pipelines.files import write
from pipelines.recipe import EvaluationSize, Recipe

_NUM_POINTS = 12
Open = Callable[[], AbstractContextManager[ImageSource]]


class AblationWorker:
    """Loads the base model once; one Ray actor a core or GPU. It leaves a file for each variant and
    each curve.
    """

    def __init__(self, recipe: Recipe, others: Sequence[Path], folder: Path) -> None:
        """`others` are finished adapters of the attributes that are not ablated."""
        assert recipe.ablation is not None
        torch.set_num_threads(1)
        self._recipe, self._config, self._folder = recipe, recipe.ablation, folder
        self._runner = MethodRunner(recipe)
        self._fingerprint = self._runner.backbone.fingerprint
        self._others = [load_adapter(path) for path in others]
        self._attributes = {attribute.name: attribute for attribute in recipe.attributes}
        self._base: dict[tuple[str, int], tuple[PromptScore, EmbeddedImages]] = {}

    def vary(self, setting: str, value: Any) -> None:
        """Train the adapters of one variant from nothing, and measure them."""
        name, size = self._config.attribute, self._config.sample
        discovery = self._discovery(name, changed(self._recipe.discovery_of(name), setting, value))
        while discovery.step < discovery.config.num_updates:
            discovery.update()
        adapters = self._adapters(discovery)
        discovery.bank.close()
        scores, base = self._measure(partial(self._runner.open_engine, adapters), name, size)
        target = self._target(name)
        counts = cell_counts(scores, target, self._attributes)
        fd = ShareSample(counts).fd(target.probabilities)
        rates = hit_rates(scores, self._attributes[name])
        heads = [head for head in base[0].seen if head != name]
        variant = Variant(
            group=setting,
            value=value,
            fd=fd.value,
            interval=fd.interval,
            hit_rate=min((row[category] for category, row in rates.items()), default=0.0),
            recognised=_mean([float(is_seen) for s in scores for is_seen in s.recognised]),
            ssim=_mean([value for s in scores for value in s.ssim]),
            drift={
                head: mean_counted(drift(s, b, head) for s, b in zip(scores, base, strict=True))
                for head in heads
            },
            denoiser_rows=discovery.denoiser_rows,
        )
        write(variant_path(self._folder, setting, value), variant.model_dump_json())

    def learn(self) -> None:
        """Follow FairGen's hit rate to the end of its training, then the official loop's."""
        own = Curve(points=list(self._own_points()))
        write(curve_path(self._folder, "fairgen"), own.model_dump_json())
        reached = own.reached(self._config.hit_rate) or own.points[-1]
        max_rows = int(self._config.rival_rows * reached.denoiser_rows)
        rival = Curve(points=list(self._rival_points(max_rows)))
        write(curve_path(self._folder, "official"), rival.model_dump_json())

    def _own_points(self) -> Iterator[Point]:
        name = self._config.learning
        discovery = self._discovery(name, self._recipe.discovery_of(name))
        every = max(1, discovery.config.num_updates // _NUM_POINTS)
        while discovery.step < discovery.config.num_updates:
            stats = discovery.update()
            if stats.step % every == 0 or stats.step == discovery.config.num_updates:
                adapters = self._adapters(discovery)
                yield Point(
                    denoiser_rows=stats.denoiser_rows,
                    gradient_rows=stats.gradient_rows,
                    hit_rate=self._hit_rate([partial(self._runner.open_engine, adapters)]),
                )
        discovery.bank.close()

    def _rival_points(self, max_rows: int) -> Iterator[Point]:
        """Yield a point each time that the official loop has spent one more share of the rows, at
        the best setting of its knob.
        """
        num_points = 0
        task = self._runner.task(max_rows, [self._attributes[self._config.learning]])
        for trainer in Official.learning(self._runner.backbone, task):
            cost = trainer.cost
            if cost.denoiser_rows >= max_rows * (num_points + 1) / _NUM_POINTS:
                num_points += 1
                weights = trainer.weights()
                candidates = [
                    partial(self._runner.open_system, Official, task, weights, setting)
                    for setting in Official.settings
                ]
                yield Point(
                    denoiser_rows=cost.denoiser_rows,
                    gradient_rows=cost.gradient_rows,
                    hit_rate=self._hit_rate(candidates),
                )

    def _discovery(self, name: str, config: DiscoveryConfig) -> Discovery:
        recipe = self._recipe
        return Discovery(
            self._runner.backbone,
            recipe.attribute(name),
            recipe.concepts.train,
            recipe.templates,
            config,
            preserve=recipe.preserve,
            attributes=recipe.attributes,
            orthogonal_to=self._others if config.orth_weight else (),
        )

    def _adapters(self, discovery: Discovery) -> list[Adapter]:
        return list(discovery.adapters(self._fingerprint, self._recipe.recipe_hash))

    def _hit_rate(self, candidates: Sequence[Open]) -> float:
        """Return the share of pictures that show the category asked, by the best candidate."""
        name, rates = self._config.learning, []
        for candidate in candidates:
            scores, _ = self._measure(candidate, name, self._config.learning_sample)
            rows = hit_rates(scores, self._attributes[name])
            rates.append(_mean([row[category] for category, row in rows.items()]))
        return max(rates)

    def _measure(
        self, candidate: Open, name: str, size: EvaluationSize
    ) -> tuple[list[PromptScore], list[PromptScore]]:
        """Return the scores of a candidate that is asked for an attribute by quota, and those of
        the base model.
        """
        target, base = self._target(name), []
        for concept in size.concepts:
            if (concept, size.num_images) not in self._base:
                plan = plan_prompt(
                    self._recipe, concept, size.num_images, target, "nothing", "base"
                )
                with self._runner.open_engine() as source:
                    measured = measure_prompt(source, plan, self._runner.judges, "base")
                self._base[concept, size.num_images] = measured
            base.append(self._base[concept, size.num_images])
        scores = []
        with candidate() as source:
            for concept, (_, reference) in zip(size.concepts, base, strict=True):
                plan = plan_prompt(
                    self._recipe, concept, size.num_images, target, "quota", "candidate"
                )
                score, _ = measure_prompt(source, plan, self._runner.judges, "candidate", reference)
                scores.append(score)
        return scores, [score for score, _ in base]

    def _target(self, name: str) -> TargetDistribution:
        return TargetDistribution.from_request({name: "uniform"}, self._recipe.attributes)


def changed(config: DiscoveryConfig, setting: str, value: Any) -> DiscoveryConfig:
    """Return a config with one setting changed, checked; a strength is that of all categories. A
    name that is no setting, as that of the recipe's own variant, changes nothing.
    """
    changes = {setting: value} if setting in DiscoveryConfig.model_fields else {}
    if setting == "eta":
        changes["category_eta"] = {}
    return DiscoveryConfig.model_validate(config.model_dump() | changes)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
