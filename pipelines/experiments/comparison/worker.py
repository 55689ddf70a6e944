"""The actor of a comparison: it trains a method, sweeps its knob, or paints a prompt."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from fairgen.adapters import load_adapter
from fairgen.baselines import AsLora, System, Uce, named_tensors
from fairgen.indicator import TargetDistribution
from fairgen.judging import EmbeddedImages, PromptScore, mean_counted, prompt_fairness
from fairgen.sampling import Sampling
from pipelines.evaluation import ImageSource, measure_prompt, plan_prompt
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition
from pipelines.experiments.comparison.files import (
    MethodCost,
    SweepPoint,
    best_setting,
    calibration_paths,
    cost_path,
    load_embedded,
    load_weights,
    measured_confusions,
    method_folder,
    save_score,
    save_weights,
    score_path,
    sweep_point_path,
)
from pipelines.experiments.comparison.systems import BASE, FAIRGEN, ComparedSystem, asked_target
from pipelines.experiments.worker import EngineMethod, FairGen, Method, MethodRunner
from pipelines.files import write
from pipelines.recipe import Recipe


class ComparisonWorker:
    """Loads the base model once; one Ray actor a core or GPU. Every method leaves files, last the
    one that says that it has ended.
    """

    def __init__(
        self,
        recipe: Recipe,
        adapter_folders: Sequence[Path],
        own_rows: int,
        max_rows: int,
        folder: Path,
    ) -> None:
        """`own_rows` is what FairGen's training took; a rival's may take `max_rows`."""
        self._recipe, self._folder, self._own_rows = recipe, folder, own_rows
        self._runner = MethodRunner(recipe)
        self._task = self._runner.task(max_rows)
        self._adapters = [load_adapter(path) for path in adapter_folders]
        self._target = TargetDistribution.from_request(recipe.evaluation.target, recipe.attributes)

    def learn(self, method: Method) -> None:
        """Train a rival, and write its weights and its cost; FairGen's adapters are trained."""
        method_folder(self._folder, method).mkdir(parents=True, exist_ok=True)
        if issubclass(method, EngineMethod):
            denoiser_rows = self._own_rows if method is FairGen else 0
            rows_per_image = method.rows_per_image
        else:
            if method is AsLora:
                weights = named_tensors({a.name: a.directions for a in self._adapters})
                denoiser_rows = self._own_rows
            else:
                weights, cost = method.train(self._runner.backbone, self._task)
                denoiser_rows = cost.denoiser_rows
            save_weights(self._folder, method, weights)
            system = method(self._runner.backbone, self._task, weights, 1.0)
            system.close()
            rows_per_image = system.rows_per_image
        cost_of_method = MethodCost(denoiser_rows=denoiser_rows, rows_per_image=rows_per_image)
        write(cost_path(self._folder, method), cost_of_method.model_dump_json())

    def sweep(self, method: type[System], setting: float) -> None:
        """Try one setting of a method's knob by quota on trained concepts."""
        assert self._recipe.comparison is not None
        size = self._recipe.comparison.sweep
        compared = ComparedSystem("sweep", method, "nothing" if method is Uce else "quota")
        attributes = {attribute.name: attribute for attribute in self._recipe.attributes}
        fds: list[float | None] = []
        recognised: list[bool] = []
        with self._open(method, setting, self._runner.sampling) as source:
            for concept in size.concepts:
                score, _ = self._measure(source, compared, concept, size.num_images)
                recognised += score.recognised
                for name in self._target.attributes:
                    target = self._target.marginalised((name,))
                    fairness = prompt_fairness(score, target, attributes)
                    fds.append(fairness.fd if fairness else None)
        point = SweepPoint(
            setting=setting,
            fd=mean_counted(fds),
            recognised=sum(recognised) / len(recognised),
        )
        write(sweep_point_path(self._folder, method, setting), point.model_dump_json())

    def calibrate(self, concept: str, num_images: int) -> None:
        """Paint and judge a concept on which FairGen's confusion is measured."""
        assert self._recipe.comparison is not None
        paths = calibration_paths(self._recipe, self._folder)
        path = paths[self._recipe.comparison.calibration.concepts.index(concept)]
        with self._open(FairGen, 1.0, self._runner.sampling) as source:
            save_score(path, *self._measure(source, FAIRGEN, concept, num_images))

    def paint(
        self, compared: ComparedSystem, condition: EvalCondition, concept: str, num_images: int
    ) -> None:
        """Paint and judge one prompt; the base model's pictures of the seeds, under the same
        condition, are the reference.
        """
        path = score_path(self._folder, condition, compared.name, concept)
        reference = None
        if compared != BASE:
            reference = load_embedded(
                score_path(self._folder, condition.reference_condition, BASE.name, concept)
            )
        usual = self._runner.sampling
        sampling = replace(
            usual,
            num_steps=condition.num_steps or usual.num_steps,
            guidance_scale=condition.guidance_scale or usual.guidance_scale,
        )
        setting = best_setting(self._folder, compared.method)
        with self._open(compared.method, setting, sampling) as source:
            score, embedded = self._measure(
                source, compared, concept, num_images, condition, reference
            )
        save_score(path, score, embedded)

    def _open(
        self, method: Method, setting: float, sampling: Sampling
    ) -> AbstractContextManager[ImageSource]:
        if issubclass(method, EngineMethod):
            adapters = self._adapters if method is FairGen else []
            return self._runner.open_engine(adapters, sampling)
        weights = load_weights(self._folder, method)
        return self._runner.open_system(method, self._task, weights, setting, sampling)

    def _measure(
        self,
        source: ImageSource,
        compared: ComparedSystem,
        concept: str,
        num_images: int,
        condition: EvalCondition = PLAIN,
        reference: EmbeddedImages | None = None,
    ) -> tuple[PromptScore, EmbeddedImages]:
        recipe = self._recipe
        confusions = measured_confusions(recipe, self._folder) if compared.calibrated else {}
        target = asked_target(recipe, compared, condition, concept, confusions)
        plan = plan_prompt(
            recipe, concept, num_images, target, compared.drawn, compared.name, condition.phrase
        )
        return measure_prompt(source, plan, self._runner.judges, compared.name, reference)
