"""Score the base model and its adapters over a prompt set: paint in parallel, judge, summarise,
report with pictures.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from fairgen.adapters import load_adapter
from fairgen.indicator import TargetDistribution
from fairgen.judging import EmbeddedImages, PromptScore
from fairgen.pictures import png
from pipelines.evaluation.evaluation import Evaluation, summarise
from pipelines.evaluation.measure import (
    Drawn,
    Judges,
    draw_categories,
    measure_prompt,
    pick_shown,
    plan_prompt,
    seed_of,
)
from pipelines.evaluation.report import COLUMNS, write_report
from pipelines.ray_runtime import actor_pool
from pipelines.recipe import EvaluationSize, Recipe, load_painter

SYSTEMS: dict[str, Drawn] = {"base": "nothing", "iid": "iid", "fairgen": "quota"}
_NUM_UNCHANGED = 4


class EvaluationWorker:
    """Paints and scores one prompt at a time; one Ray actor a core or GPU, which loads the base
    model once.
    """

    def __init__(self, recipe: Recipe, adapter_folders: Sequence[Path]) -> None:
        """Raises ValueError for an adapter of another base model."""
        from pipelines.evaluation.engine_source import EngineSource

        self._recipe = recipe
        backbone = load_painter(recipe)
        self._adapters = [load_adapter(folder) for folder in adapter_folders]
        for adapter in self._adapters:
            adapter.check_base(backbone.fingerprint, recipe.loading.siblings)
        generation = recipe.generation
        self._source = EngineSource(backbone, generation.sampling, generation.batch_size)
        self._loaded = False
        self._judges = Judges.load(recipe)
        self._target = TargetDistribution.from_request(recipe.evaluation.target, recipe.attributes)

    def paint_base(self, concept: str) -> list[bytes]:
        """Return PNGs of a prompt without people, by the model without adapters: call it first.

        Raises RuntimeError once adapters are loaded.
        """
        if self._loaded:
            raise RuntimeError("paint_base: got a model with adapters, allowed is one without")
        return self._paint_ungated(concept)

    def measure(
        self, concept: str, num_images: int, cells: Sequence[dict[str, str]] = ()
    ) -> tuple[list[PromptScore], dict[str, list[bytes]]]:
        """Return every system's score on a concept, all from the same seeds, and as PNG the
        pictures of the seeds at which FairGen was asked for the cells.
        """
        self._load_adapters()
        scores, images = [], {}
        reference: EmbeddedImages | None = None
        for system, drawn in SYSTEMS.items():
            plan = plan_prompt(self._recipe, concept, num_images, self._target, drawn, system)
            score, embedded = measure_prompt(self._source, plan, self._judges, system, reference)
            reference = reference or embedded
            scores.append(score)
            images[system] = embedded.images
        shown = pick_shown(plan.categories, cells)  # the last system's: FairGen's
        return scores, {
            system: [png(painted[index]) for index in shown] for system, painted in images.items()
        }

    def unchanged(self, concept: str, base_pictures: Sequence[bytes]) -> bool:
        """Return whether a prompt without people keeps every pixel of the model without adapters,
        when all adapters are loaded and none is on.
        """
        self._load_adapters()
        return self._paint_ungated(concept) == list(base_pictures)

    def _paint_ungated(self, concept: str) -> list[bytes]:
        plan = plan_prompt(self._recipe, concept, _NUM_UNCHANGED, self._target, "nothing", "base")
        return [png(image) for image in self._source.paint(plan)]

    def _load_adapters(self) -> None:
        if not self._loaded:
            self._source.load(self._adapters)
            self._loaded = True


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
    workers = actor_pool(
        EvaluationWorker, recipe, list(adapter_folders), at_most=len(size.concepts)
    )
    things = recipe.concepts.no_people
    base_pictures = list(workers.map(lambda actor, thing: actor.paint_base.remote(thing), things))
    scores: dict[str, list[PromptScore]] = {}
    shown: dict[str, dict[str, list[bytes]]] = {}
    measured = workers.map_unordered(
        lambda actor, row: actor.measure.remote(row[0], size.num_images, row[1]),
        list(shown_cells(recipe, size).items()),
    )
    for done, (prompt_scores, pictures) in enumerate(measured, start=1):
        concept = prompt_scores[0].concept
        scores[concept], shown[concept] = prompt_scores, pictures
        progress("evaluate", done, len(size.concepts))
    unchanged = workers.map(
        lambda actor, pair: actor.unchanged.remote(*pair),
        list(zip(things, base_pictures, strict=True)),
    )
    in_order = [score for concept in size.concepts for score in scores[concept]]  # so are intervals
    evaluation = summarise(recipe, in_order, dict(zip(things, unchanged, strict=True)))
    write_report(evaluation, {concept: shown[concept] for concept in size.concepts}, out)
    return evaluation


def shown_cells(recipe: Recipe, size: EvaluationSize) -> dict[str, list[dict[str, str]]]:
    """Return the cells of the target that each concept's row of the grid shows: over all rows they
    are in the target's quota.
    """
    target = TargetDistribution.from_request(recipe.evaluation.target, recipe.attributes)
    num_cells = COLUMNS * len(size.concepts)
    cells = draw_categories(target, "quota", num_cells, seed_of(recipe, "grid"))
    return {
        concept: cells[row * COLUMNS : (row + 1) * COLUMNS]
        for row, concept in enumerate(size.concepts)
    }
