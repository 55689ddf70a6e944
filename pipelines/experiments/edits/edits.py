"""Measure what edits of pictures change that nobody asked.

Every concept leaves a file under the experiment's folder; a run that was cut goes on from there.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console

from fairgen.attributes import render
from fairgen.judging import EmbeddedImages, Judge, PromptScore, score_pictures
from pipelines.experiments.edits.figures import edit_figures, shares_before
from pipelines.experiments.edits.painting import EditPainter, check_recipe
from pipelines.experiments.edits.report import write_edits
from pipelines.experiments.edits.results import (
    AFRESH,
    BY_ADAPTERS,
    BY_WORDS,
    CODEC,
    DRAWN,
    METHODS,
    OFF,
    PAINTED,
    STRENGTHS,
    ConceptEdits,
    Condition,
    Edits,
    ScoredEdit,
)
from pipelines.files import write
from pipelines.ray_runtime import results_key
from pipelines.recipe import EvaluationSize, Recipe, load_judge


def edits(
    recipe: Recipe, home: Path, report: Path, console: Console, size: EvaluationSize
) -> Edits:
    """Edit painted and drawn pictures of every concept under every condition, and judge them;
    writes `edits.json`, `edits.png`.

    Raises ValueError for a recipe of another world than the drawn one.
    """
    check_recipe(recipe)
    torch.set_num_threads(1)
    sections = ("base", "judge", "templates", "generation", "evaluation")
    key = results_key(recipe, sections, size)
    folder = home.resolve() / "edits" / f"{recipe.name}-{size.num_images}-{key}"
    judge = load_judge(recipe)
    painter = EditPainter(recipe, judge)
    found: dict[str, list[ConceptEdits]] = {}
    for start, concept in product((PAINTED, DRAWN), size.concepts):
        path = folder / f"{start}-{concept}.json"
        if not path.exists():
            console.print(f"{concept}, {start}")
            edited = _edit(recipe, painter, judge, start, concept, size.num_images)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, edited.model_dump_json())
        found.setdefault(start, []).append(ConceptEdits.model_validate_json(path.read_text()))
    result = Edits(
        recipe=recipe.name,
        num_images=size.num_images,
        num_steps=recipe.generation.steps,
        concepts=list(size.concepts),
        before={
            start: shares_before([concept.before for concept in own], recipe.attributes)
            for start, own in found.items()
        },
        figures=[
            figures for own in found.values() for figures in edit_figures(own, recipe.attributes)
        ],
    )
    write_edits(result, painter, report)
    return result


def conditions(start: str) -> list[Condition]:
    """Return all that is done to the pictures of a start. Only drawn pictures, which stand for what
    people bring, are edited under a mask.
    """
    bounds = (CODEC, AFRESH)
    found = [Condition(start=start, method=one, strength=0, masked=False) for one in bounds]
    for method, strength in product(METHODS, STRENGTHS):
        if method not in bounds:
            found.append(Condition(start=start, method=method, strength=strength, masked=False))
    for method, strength in product((OFF, BY_ADAPTERS, BY_WORDS), STRENGTHS):
        if start == DRAWN:
            found.append(Condition(start=start, method=method, strength=strength, masked=True))
    return found


def _edit(
    recipe: Recipe, painter: EditPainter, judge: Judge, start: str, concept: str, num_images: int
) -> ConceptEdits:
    pictures = painter.starts(start, concept, num_images)

    def scored(
        method: str, images: Sequence[Image.Image], reference: EmbeddedImages | None
    ) -> tuple[PromptScore, EmbeddedImages]:
        return score_pictures(
            images,
            painter.asked(method, concept, pictures),
            system=method,
            concept=concept,
            prompt=render(recipe.templates[0], concept),
            attributes=recipe.attributes,
            judge=judge,
            reference=reference,
        )

    before, reference = scored(start, pictures, None)
    edits = []
    for condition in conditions(start):
        images = painter.edit(condition, concept, pictures)
        score, _ = scored(condition.method, images, reference)
        edits.append(ScoredEdit(condition=condition, score=score))
    return ConceptEdits(before=before, edits=edits)
