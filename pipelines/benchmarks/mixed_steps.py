"""Requests of mixed steps, arriving at random: the endpoint beside `@serve.batch` with the bank.

Both paint the same work: all steps computed and guided, one adapter of each attribute a picture.
What differs is when a picture begins and when it is answered.
"""

import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from fairgen.attributes import render
from pipelines.benchmarks.client import arrivals, ask_all
from pipelines.recipe import Recipe

STEPS = (8, 12, 20, 30)
SAMPLED_ALIKE = {"guidance_interval": [0, 1], "taylorseer": False}  # as a pipeline paints
_SHARE_OF_CAPACITY = 0.8
_WARM = 4

Bodies = Sequence[dict[str, Any]]


def mixed_steps_figures(
    recipe: Recipe, url: str, rival_url: str, requests: int, rounds: int
) -> dict[str, float]:
    """Return throughput with all requests at once, and latencies with arrivals at random at four
    fifths of what the rival can take: the endpoint over the rival, medians of rounds by turns.
    """
    ours, theirs = bodies_of(recipe, requests)
    for address, bodies in ((url, ours), (rival_url, theirs)):
        ask_all(address, bodies[:_WARM], clients=_WARM)
    rates = [(_rate(url, ours), _rate(rival_url, theirs)) for _ in range(rounds)]
    gap_s = 1 / (_SHARE_OF_CAPACITY * statistics.median(rate for _, rate in rates))
    latencies: tuple[list[float], list[float]] = ([], [])
    for seed in range(rounds):
        due_s = arrivals(requests, gap_s, random.Random(seed))
        for found, address, bodies in zip(latencies, (url, rival_url), (ours, theirs), strict=True):
            answers = ask_all(address, bodies, clients=requests, due_s=due_s)
            found += [answer.latency_s for answer in answers]
    own, rival = (statistics.quantiles(found, n=20) for found in latencies)
    return {
        "mixed_steps_throughput": statistics.median(one / other for one, other in rates),
        "mixed_steps_p50": statistics.median(latencies[0]) / statistics.median(latencies[1]),
        "mixed_steps_p95": own[-1] / rival[-1],
    }


def bodies_of(recipe: Recipe, requests: int) -> tuple[Bodies, Bodies]:
    """Return the same requests twice: for the endpoint, which has the targets to follow, and for
    the rival, which is told the categories.
    """
    rng = random.Random(0)
    concepts = (*recipe.concepts.train, *recipe.concepts.held_out)
    shared = [
        {
            "prompt": render(recipe.templates[0], rng.choice(concepts)),
            "seed": seed,
            "num_inference_steps": rng.choice(STEPS),
        }
        for seed in range(requests)
    ]
    attributes = recipe.attributes
    fairness = {attribute.name: "uniform" for attribute in attributes}
    ours = [body | {"fairness": fairness} | SAMPLED_ALIKE for body in shared]
    theirs = [body | {"categories": {a.name: rng.choice(a.names) for a in attributes}}
              for body in shared]  # fmt: skip
    return ours, theirs


def _rate(url: str, bodies: Bodies) -> float:
    """Return pictures a second, all asked for at once."""
    started = time.monotonic()
    ask_all(url, bodies, clients=len(bodies))
    return len(bodies) / (time.monotonic() - started)
