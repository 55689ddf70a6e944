"""How the embedded base model compares with its planted truth: figures and a grid of pictures, by
`make portraits-report`.
"""

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from fairgen.attributes import adapter_name, render
from fairgen.pictures import Block, picture_grid
from fairgen.portraits.drawing import draw
from fairgen.portraits.folders import MODEL
from fairgen.portraits.judge import HEADS, PortraitClassifier, draw_labelled
from fairgen.portraits.training import pixels
from fairgen.portraits.world import ATTRIBUTES, OCCUPATIONS, POPULATION, WORDS, sample_portrait

_TEMPLATE = "a photo of {subject}"
_BATCH_SIZE = 25
_PER_CELL = 2  # drawings that are redrawn
_SHOWN = 8  # pictures of an occupation in the grid


@dataclass(frozen=True)
class ReportSize:
    """How every picture of the report is sampled, and how many of them."""

    num_steps: int
    guidance_scale: float
    num_images: int
    num_per_word: int


@cache
def _load() -> tuple[StableDiffusionPipeline, PortraitClassifier]:
    """Return the pipeline and the judge, loaded once a process."""
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe, PortraitClassifier(MODEL)


def paint(prompt: str, count: int, size: ReportSize, seed: int) -> list[Image.Image]:
    """Return `count` pictures of a prompt with the seeds seed, seed + 1, ..."""
    pipe, _ = _load()
    images: list[Image.Image] = []
    for start in range(0, count, _BATCH_SIZE):
        seeds = range(seed + start, seed + min(start + _BATCH_SIZE, count))
        images += pipe(
            prompt,
            num_images_per_prompt=len(seeds),
            num_inference_steps=size.num_steps,
            guidance_scale=size.guidance_scale,
            generator=[torch.Generator().manual_seed(value) for value in seeds],
        ).images
    return images


def study(occupation: str, size: ReportSize) -> tuple[dict, list[Image.Image]]:
    """Return one occupation's figures, and the pictures of it that the grid shows."""
    _, judge = _load()
    started = time.monotonic()
    images = paint(render(_TEMPLATE, occupation), size.num_images, size, seed=0)
    seconds = time.monotonic() - started
    seen = {name: table.argmax(1).tolist() for name, table in judge.classify(images).items()}
    measured = {
        name: {value: seen[name].count(index) / len(images) for index, value in enumerate(values)}
        for name, values in ATTRIBUTES.items()
    }
    planted = {name: POPULATION[occupation].probabilities(name) for name in ATTRIBUTES}
    obeyed = {}
    for name, words_of in WORDS.items():
        for category, (word, *_) in words_of.items():
            prompt = render(_TEMPLATE, occupation, [word])
            worded = paint(prompt, size.num_per_word, size, seed=10_000)
            hits = judge.classify(worded)[name].argmax(1) == HEADS[name].index(category)
            obeyed[adapter_name(name, category)] = hits.float().mean().item()
    figures = {
        "recognised": seen["concept"].count(HEADS["concept"].index(occupation)) / len(images),
        "planted": planted,
        "measured": measured,
        "obeyed": obeyed,
        "images_per_second": len(images) / seconds,
    }
    return figures, images[:_SHOWN]


def judge_counts(count: int = 4000, seed: int = 99) -> dict[str, dict[str, dict[str, int]]]:
    """Return what the judge names on drawings it has never seen: head -> true class -> named class
    -> drawings. A head counts those that it applies to.
    """
    _, judge = _load()
    images, truth = draw_labelled(count, random.Random(seed))
    with torch.inference_mode():
        batches = [judge.network(batch) for batch in images.split(200)]
    counts = {}
    for name, classes in HEADS.items():
        named = torch.cat([batch[name].argmax(1) for batch in batches])
        known = truth[name] >= 0
        pairs = Counter(zip(truth[name][known].tolist(), named[known].tolist(), strict=True))
        counts[name] = {
            true: {
                other: pairs[row, column]
                for column, other in enumerate(classes)
                if pairs[row, column]
            }
            for row, true in enumerate(classes)
        }
    return counts


def accuracy(counts: Mapping[str, Mapping[str, int]]) -> float:
    """Return the share of drawings whose class a head names."""
    right = sum(row.get(true, 0) for true, row in counts.items())
    return right / sum(sum(row.values()) for row in counts.values())


def redrawn_similarity() -> float:
    """Return the SSIM of members of the planted population with the same drawings in which gender,
    skin and age alone are others, all cells alike: what the fairest system that moves nothing else
    would keep, the mean over occupations.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    names = ("gender", "skin", "age")
    cells = list(product(*(ATTRIBUTES[name] for name in names))) * _PER_CELL
    found = []
    for occupation in OCCUPATIONS:
        before, after = [], []
        for seed, cell in enumerate(cells):
            person = sample_portrait(random.Random(seed), occupation)
            other = replace(person, **dict(zip(names, cell, strict=True)))
            before.append(draw(person, random.Random(seed)))
            after.append(draw(other, random.Random(seed)))
        shown, redrawn = ((pixels(images) + 1) / 2 for images in (before, after))
        found.append(structural_similarity_index_measure(shown, redrawn, data_range=1.0))
    return float(sum(found) / len(found))


def summarise(figures: dict[str, dict]) -> dict:
    """Return the means over occupations that the README quotes."""

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    gaps = {
        name: mean(
            [
                abs(figure["measured"][name][value] - figure["planted"][name][value])
                for figure in figures.values()
                for value in values
            ]
        )
        for name, values in ATTRIBUTES.items()
    }
    words = [
        adapter_name(name, category)
        for name, categories in WORDS.items()
        for category in categories
    ]
    return {
        "recognised": mean([figure["recognised"] for figure in figures.values()]),
        "recognised_least": min(figures, key=lambda name: figures[name]["recognised"]),
        "obeyed": {
            word: mean([figure["obeyed"][word] for figure in figures.values()]) for word in words
        },
        "gap_to_planted": gaps,
        "images_per_second_per_process": mean(
            [figure["images_per_second"] for figure in figures.values()]
        ),
    }


def measure_base(out: Path, size: ReportSize, processes: int) -> None:
    """Write `portraits.json` and `grid.webp` into `out`, beside the model how its judge errs."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(study, OCCUPATIONS, [size] * len(OCCUPATIONS)))
    figures = {name: result[0] for name, result in zip(OCCUPATIONS, results, strict=True)}
    counts = judge_counts()
    accuracies = {name: accuracy(table) for name, table in counts.items()}
    summary = {
        "judge_accuracy": accuracies,
        "redrawn_ssim": redrawn_similarity(),
        **summarise(figures),
    }
    confusion = {
        "source": "4,000 held-out drawings of the fair world",
        "counts": {name: counts[name] for name in ATTRIBUTES},
    }
    (MODEL / "judge_confusion.json").write_text(json.dumps(confusion, indent=1) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    report = {"sampling": vars(size), "summary": summary, "occupations": figures}
    (out / "portraits.json").write_text(json.dumps(report, indent=2) + "\n")
    blocks = [Block(images, name) for name, (_, images) in zip(OCCUPATIONS, results, strict=True)]
    grid = picture_grid([blocks[index : index + 2] for index in range(0, len(blocks), 2)])
    grid.save(out / "grid.webp", quality=92, method=6)
    logging.getLogger(__name__).info("%s", json.dumps(summary, indent=2))
