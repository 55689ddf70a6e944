"""How many replicas a load needs: calculated from measured steps, and by a simulation of queues.

The simulation does what `pipelines/serve` does: requests arrive at random, each goes to the less
loaded of two replicas (how Ray Serve routes), and a replica takes pictures into its batch between
two steps, whatever step the others are at.
"""

import heapq
import math
import random
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel

from pipelines.benchmarks.memory_estimate import markdown_table
from pipelines.benchmarks.speed import RecipeSpeed, Speed

SPARE = 1.2
PER_REQUEST = 4
RATES = (10, 1000)
_FEWEST_REQUESTS = 1000
_MOST_PER_S, _MOST_PER_REQUEST = 10_000, 1000  # pictures; with more a simulation takes minutes
INDICATOR_REQUESTS_PER_S = 800  # docs/operations.md, `indicator_requests_per_s`


class Scaling(BaseModel):
    """How long requests take with a number of replicas: seconds until their last picture."""

    replicas: int
    p50_s: float
    p95_s: float


@dataclass
class _Replica:
    """A replica: its batch and queue of pictures, each the number of its steps to come, with its
    request.
    """

    waiting: deque[int] = field(default_factory=deque)
    batch: list[tuple[int, int]] = field(default_factory=list)
    stepping: bool = False

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.batch)


def replicas_for(images_per_s: float, of_one: float) -> int:
    """Return how many replicas a load needs, with a fifth to spare."""
    return math.ceil(SPARE * images_per_s / of_one)


def indicators_for(images_per_s: float, per_request: int = PER_REQUEST) -> int:
    """Return how many indicators a load needs: prompts are sharded over as many endpoints."""
    return math.ceil(images_per_s / per_request / INDICATOR_REQUESTS_PER_S)


def scaling_table(
    found: Speed, rates: Sequence[float] = RATES, per_request: int = PER_REQUEST
) -> str:
    """Return a Markdown table of what loads need, by default that of docs/operations.md.

    Raises ValueError for a load that is not positive, and for one that would take too long.
    """
    for rate in rates:
        if not (0 < rate <= _MOST_PER_S and 1 <= per_request <= _MOST_PER_REQUEST):
            raise ValueError(
                f"load: got {rate:g} images/s, {per_request} a request; allowed are more than 0 "
                f"and at most {_MOST_PER_S:,} images/s, 1 to {_MOST_PER_REQUEST:,} a request"
            )
    columns = (
        "recipe, steps", "pictures at once", "s a step", "images/s a GPU", "over plain diffusers",
        *(f"{rate:,g} images/s: replicas, p50, p95" for rate in rates),
    )  # fmt: skip
    rows = []
    for speed in found.recipes:
        best = speed.best
        loads = [
            simulate(speed, rate, replicas_for(rate, best.images_per_s), per_request)
            for rate in rates
        ]
        rows.append(
            (
                f"`{speed.recipe}`, {speed.steps}",
                str(best.pictures),
                f"{best.step_s:.3f}",
                f"{best.images_per_s:.2f}",
                f"{best.images_per_s / best.plain_images_per_s:.2f}",
                *(f"{load.replicas:,}, {load.p50_s:.1f} s, {load.p95_s:.1f} s" for load in loads),
            )
        )
    return markdown_table(columns, rows)


def simulate(
    speed: RecipeSpeed,
    images_per_s: float,
    replicas: int,
    per_request: int = PER_REQUEST,
    seconds: float = 120.0,
    seed: int = 0,
) -> Scaling:
    """Return how long requests take that come for so many seconds, or for longer where that are too
    few to tell; the first fifth is not counted.

    A step's time is interpolated between the measured sizes of a batch; what a picture takes
    besides its steps, to begin and to be decoded, comes on top of the step that it ends with.
    """
    if replicas < 1 or per_request < 1 or images_per_s <= 0:
        raise ValueError(
            f"load: got {images_per_s:g} images/s on {replicas} replicas, {per_request} a request; "
            "allowed are more than none of each"
        )
    sizes = [row.pictures for row in speed.painting]
    times = [row.step_s for row in speed.painting]
    most = speed.best.pictures
    beside_s = 1 / speed.best.images_per_s - speed.steps * speed.best.step_s / most
    rng = random.Random(seed)
    now, arrivals = 0.0, list[float]()
    while now < seconds or len(arrivals) < _FEWEST_REQUESTS:
        now += rng.expovariate(images_per_s / per_request)
        arrivals.append(now)
    fleet = [_Replica() for _ in range(replicas)]
    left, ended = [per_request] * len(arrivals), [0.0] * len(arrivals)
    events = [(at, index, -1) for index, at in enumerate(arrivals)]  # a replica's end of step: >= 0
    heapq.heapify(events)
    while events:
        now, request, replica_index = heapq.heappop(events)
        if replica_index < 0:
            replica_index = min(
                rng.sample(range(replicas), min(2, replicas)), key=lambda i: fleet[i].load
            )
            fleet[replica_index].waiting.extend([request] * per_request)
        else:
            fleet[replica_index].stepping = False
        replica = fleet[replica_index]
        if replica.stepping:
            continue
        while replica.waiting and len(replica.batch) < most:
            replica.batch.append((speed.steps, replica.waiting.popleft()))
        if not replica.batch:
            continue
        took_s = float(np.interp(len(replica.batch), sizes, times))
        done = [asked for steps, asked in replica.batch if steps == 1]
        replica.batch = [(steps - 1, asked) for steps, asked in replica.batch if steps > 1]
        took_s += beside_s * len(done)
        for asked in done:
            left[asked] -= 1
            ended[asked] = now + took_s
        replica.stepping = True
        heapq.heappush(events, (now + took_s, 0, replica_index))
    assert not any(left)
    counted = range(len(arrivals) // 5, len(arrivals))
    latencies = [ended[index] - arrivals[index] for index in counted]
    cuts = statistics.quantiles(latencies, n=20)
    return Scaling(
        replicas=replicas,
        p50_s=statistics.median(latencies),
        p95_s=cuts[-1],
    )
