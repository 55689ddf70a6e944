"""Measure a running endpoint from outside: single-image requests of many clients, judged."""

import logging
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from fairgen.attributes import render
from fairgen.judging import EmbeddedImages, PromptScore
from fairgen.pictures import png
from pipelines.benchmarks.client import Answer, ask_all
from pipelines.evaluation import (
    Evaluation,
    Judges,
    PromptPlan,
    measure_prompt,
    pick_shown,
    picture_seeds,
    shown_cells,
    summarise,
    write_report,
)
from pipelines.recipe import EvaluationSize, Recipe
from pipelines.serve import PICTURES

log = logging.getLogger(__name__)
NUM_CLIENTS = 8
_NUM_UNCHANGED = 4


def audit_endpoint(
    recipe: Recipe,
    endpoint: str,
    size: EvaluationSize,
    out: Path,
    progress: Callable[[str, int, int], None],
) -> Evaluation:
    """Ask for every picture twice, fairness off and as the recipe's target, at the same seed.

    The clients take turns over the prompts, so that the ledger sees them mixed. `progress(stage,
    done, total)` is called after every picture. Raises ValueError for what the endpoint refuses.
    """
    judges = Judges.load(recipe)
    people = [(concept, size.num_images) for concept in size.concepts]
    things = [(concept, _NUM_UNCHANGED) for concept in recipe.concepts.no_people]
    fairness = {"base": "off", "fairgen": recipe.evaluation.target}
    jobs = [
        (system, concept, index)
        for index in range(max(size.num_images, _NUM_UNCHANGED))
        for concept, num_images in [*people, *things]
        for system in fairness
        if index < num_images
    ]
    bodies = [
        {
            "prompt": render(recipe.templates[0], concept),
            "seed": picture_seeds(recipe, concept, index + 1)[index],
            "fairness": fairness[system],
        }
        for system, concept, index in jobs
    ]
    number = count(1)
    all_answers = ask_all(
        endpoint.rstrip("/") + PICTURES,
        bodies,
        clients=NUM_CLIENTS,
        on_answer=lambda: progress("audit", next(number), len(jobs)),
    )
    records = [answer.provenance for answer in all_answers if answer.provenance is not None]
    if num_flagged := sum(record.safety_checker == "flagged" for record in records):
        log.warning("%d of %d pictures are black and judged so: the base model's safety checker "
                    "flagged them", num_flagged, len(jobs))  # fmt: skip
    answers: dict[tuple[str, str], list[Answer]] = {}
    for (system, concept, _), answer in zip(jobs, all_answers, strict=True):
        answers.setdefault((system, concept), []).append(answer)
    scores: list[PromptScore] = []
    for concept in size.concepts:
        reference: EmbeddedImages | None = None
        for system in fairness:  # the base model first
            source = AnswerSource(answers[system, concept])
            plan = source.plan(recipe, concept)
            score, embedded = measure_prompt(source, plan, judges, system, reference)
            reference = reference or embedded
            scores.append(score)
    unchanged = {
        concept: all(
            _same(one.image, other.image)
            for one, other in zip(
                answers["base", concept], answers["fairgen", concept], strict=True
            )
        )
        for concept, _ in things
    }
    evaluation = summarise(recipe, scores, unchanged)
    shown = {}
    for concept, cells in shown_cells(recipe, size).items():
        plan = AnswerSource(answers["fairgen", concept]).plan(recipe, concept)
        picked = pick_shown(plan.categories, cells)
        shown[concept] = {
            system: [png(answers[system, concept][index].image) for index in picked]
            for system in fairness
        }
    write_report(evaluation, shown, out)
    return evaluation


class AnswerSource:
    """An endpoint's answers to one prompt, as a source of pictures."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers

    def plan(self, recipe: Recipe, concept: str) -> PromptPlan:
        """Return the plan of the answers: the endpoint drew the categories itself."""
        records = [answer.provenance for answer in self._answers]
        return PromptPlan(
            concept=concept,
            template=recipe.templates[0],
            phrase=concept,
            seeds=picture_seeds(recipe, concept, len(records)),
            categories=[record.categories for record in records if record is not None],
        )

    def paint(self, plan: PromptPlan) -> list[Image.Image]:
        """Return the pictures of the answers."""
        return [answer.image for answer in self._answers]


def _same(one: Image.Image, other: Image.Image) -> bool:
    """Return whether pictures agree to one of 255 levels: a shared batch moves the last bit."""
    return bool(np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1)
