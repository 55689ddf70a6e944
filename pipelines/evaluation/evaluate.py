"""Score the base model and its adapters over a prompt set: paint in parallel, judge, summarise,
report with pictures.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ray.util import ActorPool

from fairgen.attributes import render
from fairgen.indicator import TargetDistribution
from fairgen.judging import EmbeddedImages, Judge, PromptScore, score_pictures
from fairgen.pipeline import FairGenPipeline
from pipelines.evaluation.evaluation import Evaluation, summarise
from pipelines.evaluation.report import png, write_report
from pipelines.ray_runtime.resumable import actor_pool
from pipelines.recipe.evaluation_config import EvaluationSize
from pipelines.recipe.recipe import Recipe

SYSTEMS = ("base", "iid", "fairgen")
_SHOWN = 8


class EvaluationWorker:
    """Paints and judges one prompt at a time; one Ray actor a core, the models loaded once."""

    def __init__(self, recipe: Recipe, adapter_folders: Sequence[Path]) -> None:
        self.recipe = recipe
        self.pipeline: FairGenPipeline = FairGenPipeline(
            recipe.load_pipe(), adapter_folders, siblings=recipe.loading.siblings
        )
        self.judge: Judge = recipe.load_judge()
        self.second = recipe.load_second_judge()
        self.target = TargetDistribution.from_request(recipe.evaluation.target, recipe.attributes)

    def paint(
        self, concept: str, num_images: int
    ) -> tuple[list[PromptScore], dict[str, list[bytes]]]:
        """Return every system's score on a concept and its first pictures as PNG, all from the same
        seeds.
        """
        prompt = render(self.recipe.templates[0], concept)
        scores, shown = [], {}
        reference: EmbeddedImages | None = None
        for system in SYSTEMS:
            output = self.pipeline(
                prompt,
                num_images=num_images,
                fairness="off" if system == "base" else self.target,
                assignment="iid" if system == "iid" else "quota",
                seed=self.recipe.evaluation.seed,
                batch_size=self.recipe.generation.batch_size,
                **self.recipe.generation.pipe_options(),
            )
            score, embedded = score_pictures(
                output.images,
                [record.categories for record in output.records],
                system=system,
                concept=concept,
                prompt=prompt,
                attributes=self.recipe.attributes,
                judge=self.judge,
                second_judge=self.second,
                reference=reference,
            )
            reference = reference or embedded
            scores.append(score)
            shown[system] = [png(image) for image in output.images[:_SHOWN]]
        return scores, shown

    def unchanged(self, concept: str, num_images: int) -> bool:
        """Return whether a prompt without people keeps every pixel: the loaded bank at zero gates
        against none.
        """
        prompt = render(self.recipe.templates[0], concept)
        options = self.recipe.generation.pipe_options()
        seed = self.recipe.evaluation.seed
        gated = self.pipeline(prompt, num_images=num_images, fairness="off", seed=seed, **options)
        bare = FairGenPipeline(self.recipe.load_pipe(), [])(
            prompt, num_images=num_images, fairness="off", seed=seed, **options
        )
        return all(
            a.tobytes() == b.tobytes() for a, b in zip(gated.images, bare.images, strict=True)
        )


def evaluate(
    recipe: Recipe,
    adapter_folders: Sequence[Path],
    size: EvaluationSize,
    out: Path,
    progress: Callable[[str, int, int], None],
) -> Evaluation:
    """Paint, judge and report; `progress(stage, done, total)` is called after every prompt. Needs a
    running Ray.
    """
    painters = actor_pool(
        EvaluationWorker, recipe, list(adapter_folders), at_most=len(size.concepts)
    )
    scores: list[PromptScore] = []
    shown: dict[str, dict[str, list[bytes]]] = {}
    for done, (found, pictures) in enumerate(_paint_all(painters, size), start=1):
        scores += found
        shown[found[0].concept] = pictures
        progress("evaluate", done, len(size.concepts))
    kept = list(
        painters.map(
            lambda actor, concept: actor.unchanged.remote(concept, 4),
            list(recipe.concepts.no_people),
        )
    )
    evaluation = summarise(recipe, scores, dict(zip(recipe.concepts.no_people, kept, strict=True)))
    write_report(evaluation, {concept: shown[concept] for concept in size.concepts}, out)
    return evaluation


def _paint_all(
    painters: ActorPool, size: EvaluationSize
) -> Iterator[tuple[list[PromptScore], dict[str, list[bytes]]]]:
    yield from painters.map_unordered(
        lambda actor, concept: actor.paint.remote(concept, size.num_images), list(size.concepts)
    )
