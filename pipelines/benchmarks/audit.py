"""Measure a running endpoint from outside: single-image requests of many clients, judged."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from fairgen.attributes import render
from fairgen.judging.scoring import score_pictures
from pipelines.benchmarks.client import Answer, ask_all
from pipelines.evaluation.evaluation import Evaluation, summarise
from pipelines.evaluation.report import png, write_report
from pipelines.recipe.evaluation_config import EvaluationSize
from pipelines.recipe.recipe import Recipe
from pipelines.serve.access.middleware import PICTURES

NUM_CLIENTS = 8
_SHOWN = 8
_UNCHANGED_IMAGES = 4


def audit(
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
    judge, second = recipe.load_judge(), recipe.load_second_judge()
    people = [(concept, size.num_images) for concept in size.concepts]
    others = [(concept, _UNCHANGED_IMAGES) for concept in recipe.concepts.no_people]
    wanted = {"base": "off", "fairgen": recipe.evaluation.target}
    jobs = [
        (system, concept, index)
        for index in range(max(size.num_images, _UNCHANGED_IMAGES))
        for concept, num_images in [*people, *others]
        for system in wanted
        if index < num_images
    ]
    bodies = [
        {
            "prompt": render(recipe.templates[0], concept),
            "seed": recipe.evaluation.seed + index,
            "fairness": wanted[system],
        }
        for system, concept, index in jobs
    ]
    number = count(1)
    answers = ask_all(
        endpoint.rstrip("/") + PICTURES,
        bodies,
        clients=NUM_CLIENTS,
        on_answer=lambda: progress("audit", next(number), len(jobs)),
    )
    found: dict[tuple[str, str], list[Answer]] = {}
    for (system, concept, _), answer in zip(jobs, answers, strict=True):
        found.setdefault((system, concept), []).append(answer)
    scores = [
        score_pictures(
            system,
            concept,
            render(recipe.templates[0], concept),
            [answer.image for answer in found[system, concept]],
            [_categories(answer) for answer in found[system, concept]],
            [answer.image for answer in found["base", concept]],
            recipe.attributes,
            judge,
            second,
        )
        for system in wanted
        for concept in size.concepts
    ]
    unchanged = {
        concept: all(
            _same(one.image, other.image)
            for one, other in zip(found["base", concept], found["fairgen", concept], strict=True)
        )
        for concept, _ in others
    }
    evaluation = summarise(recipe, scores, unchanged)
    shown = {
        concept: {
            system: [png(answer.image) for answer in found[system, concept][:_SHOWN]]
            for system in wanted
        }
        for concept in size.concepts
    }
    write_report(evaluation, shown, out)
    return evaluation


def _categories(answer: Answer) -> dict[str, str]:
    assert answer.provenance is not None  # ours always brings one
    return answer.provenance.categories


def _same(one: Image.Image, other: Image.Image) -> bool:
    """Return whether pictures agree to one of 255 levels: who shares a batch moves the last bit."""
    return bool(np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1)
