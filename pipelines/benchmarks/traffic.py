"""Traffic as a benchmark: what shapes of it are delivered by indicator, endpoint and library."""

import asyncio
import contextlib
import multiprocessing
import os
import platform
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from fairgen.attributes import Attribute
from fairgen.files import written_whole
from fairgen.judging import class_shares, fairness_discrepancy, sampling_floor
from pipelines.benchmarks.traffic_player import Player, decide_until_killed, growth_mb
from pipelines.benchmarks.traffic_shapes import (
    Request,
    callers,
    languages,
    long_tail,
    lost_at_random,
    many_persons,
    one_person,
    one_prompt,
    sent_again,
)
from pipelines.recipe import Recipe
from pipelines.serve import PICTURES, Retry

TRAFFIC_COLUMNS = ("traffic", "level", "n", "FD", "a coin's", "largest gap")
_PROMPTS = 50
_KILLED = "indicator killed half-way"
_LOST_SHARE = 1 / 3
_MANY_STEPS = 20  # most clients give up before


class TrafficRow(BaseModel):
    """What was delivered of an attribute in one shape of traffic, over the streams of one level.

    `n` is the pictures of a stream, `fd` the mean fairness discrepancy of the streams, `coin_fd`
    that of a fair coin with as many pictures, `largest_gap` by how many pictures any prefix of any
    stream is off in any category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    level: str
    attribute: str
    n: int
    fd: float
    coin_fd: float
    largest_gap: float


class Traffic(BaseModel):
    """The rows, and what the indicator bears with every count on disk.

    `memory_mb` is what 100,000 streams take of a process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str
    machine: str
    rows: tuple[TrafficRow, ...]
    decisions_per_s: float
    memory_mb: float


@dataclass(frozen=True)
class TrafficSize:
    """How many pictures the shapes have, and how many streams and decisions are measured."""

    pictures: int = 100
    decisions: int = 4000
    streams: int = 100_000


@dataclass
class Delivered:
    """Categories of delivered pictures in their order, by level and stream."""

    by_level: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, request: Request, category: str) -> None:
        """Count a picture at every level."""
        streams = {"prompt": request.prompt, "person": request.person, "caller": request.caller}
        for level, name in {**streams, "all": ""}.items():
            self.by_level[level][name].append(category)

    def row(self, case: str, level: str, attribute: Attribute) -> TrafficRow:
        """Return what the streams of a level got, even shares asked."""
        names, streams = attribute.names, list(self.by_level[level].values())
        target = [1 / len(names)] * len(names)
        shares = [class_shares([names.index(c) for c in seen], len(names)) for seen in streams]
        return TrafficRow(
            case=case,
            level=level,
            attribute=attribute.name,
            n=round(statistics.mean(map(len, streams))),
            fd=statistics.mean(fairness_discrepancy(target, share) for share in shares),
            coin_fd=statistics.mean(sampling_floor(target, len(seen)) for seen in streams),
            largest_gap=max(largest_gap(seen, names) for seen in streams),
        )


def largest_gap(seen: Sequence[str], names: Sequence[str]) -> float:
    """Return by how many pictures any prefix is off even shares in any category."""
    counts: Counter[str] = Counter()
    gap = 0.0
    for m, category in enumerate(seen, 1):
        counts[category] += 1
        gap = max(gap, *(abs(counts[name] - m / len(names)) for name in names))
    return gap


def measure_traffic(
    recipe: Recipe, size: TrafficSize, address: str | None = None, library: bool = True
) -> Traffic:
    """Play every shape of traffic on the recipe's first attribute: through the indicator, where no
    picture is painted, through the endpoint at `address` if there is one, and through the library
    on the embedded model.
    """
    attribute = recipe.attributes[0]
    rows: list[TrafficRow] = []
    with tempfile.TemporaryDirectory(prefix="fairgen-traffic-") as scratch:
        folder = Path(scratch)
        for case, levels, delivered in _played(recipe, attribute, size, folder):
            rows += [delivered.row(case, level, attribute) for level in levels]
        if address is not None:
            for case, delivered in asyncio.run(_asked(address, attribute, size)):
                rows.append(delivered.row(f"endpoint: {case}", "person", attribute))
        if library:
            rows.append(_painted(size))
        rate = asyncio.run(_decisions_per_s(recipe, attribute, size, folder / "rate"))
        memory = _memory_mb(recipe, attribute, size, folder / "memory")
    return Traffic(
        date=datetime.now(UTC).date().isoformat(),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
        rows=tuple(rows),
        decisions_per_s=rate,
        memory_mb=memory,
    )


def _played(
    recipe: Recipe, attribute: Attribute, size: TrafficSize, folder: Path
) -> Iterator[tuple[str, tuple[str, ...], Delivered]]:
    """Yield case, levels and what was delivered, each by an indicator of its own."""
    rng, num = random.Random(0), size.pictures
    first = attribute.names[0]

    def lose_first(category: str) -> bool:
        return category == first and rng.random() < 2 * _LOST_SHARE

    everyone = ("prompt", "person", "caller", "all")
    shapes = {
        "one prompt repeated": (("prompt",), one_prompt(num)),
        "one person, prompts differ": (("person",), one_person(num)),
        "50 persons, prompts differ": (("person", "all"), many_persons(num, rng)),
        "a long tail of prompts": (("prompt", "person", "all"), long_tail(num, rng)),
        "20 callers": (everyone[1:], callers(num, rng)),
        "eight languages, prompts differ": (("person", "all"), languages(num)),
        "a third lost at random": (
            ("prompt",), lost_at_random(one_prompt(num * 3 // 2), _LOST_SHARE, rng)
        ),
        "sent again": (("prompt",), sent_again(one_prompt(num), rng)),
    }  # fmt: skip
    for index, (case, (levels, requests)) in enumerate(shapes.items()):
        yield case, levels, _play(Player(recipe, attribute, folder / str(index)), requests)
    player = Player(recipe, attribute, folder / "adversary")
    lost = _play(player, one_prompt(num * 3 // 2), lose_first)
    yield f"a third lost, those of {first!r}", ("prompt",), lost
    killed = _with_a_kill(recipe, attribute, folder / "killed", one_prompt(num))
    yield _KILLED, ("prompt",), killed


def _play(
    player: Player, requests: Sequence[Request], is_lost: Callable[[str], bool] = lambda _: False
) -> Delivered:
    """Return what was delivered; `is_lost` says of a category whether nobody gets it."""

    async def played() -> Delivered:
        delivered = Delivered()
        for index, request in enumerate(requests):
            for attempt in range(request.num_lost + 1):
                retry = Retry(f"request {index}", attempt > 0) if request.num_lost else None
                reservation, category = await player.assign(request, retry)
                lost = attempt < request.num_lost or request.gives_up or is_lost(category)
                await player.settle(reservation, lost)
                if not lost:
                    delivered.add(request, category)
        return delivered

    return asyncio.run(played())


def _with_a_kill(
    recipe: Recipe, attribute: Attribute, home: Path, requests: Sequence[Request]
) -> Delivered:
    """Play through an indicator in a process of its own, which is killed half-way."""
    context = multiprocessing.get_context("spawn")
    delivered, half = Delivered(), len(requests) // 2
    for part in (requests[:half], requests[half:]):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=decide_until_killed, args=(theirs, recipe, attribute, home)
        )
        process.start()
        try:
            for request in part:
                ours.send(request)
                delivered.add(request, ours.recv())
        finally:
            process.kill()
            process.join()
    return delivered


async def _asked(
    address: str, attribute: Attribute, size: TrafficSize
) -> list[tuple[str, Delivered]]:
    """Return what an endpoint delivers, asked over HTTP: pictures of one step, and of many steps
    where the client gives up.
    """
    url, rng = address + PICTURES, random.Random(1)
    async with aiohttp.ClientSession() as session:

        async def ask(request: Request, retry: int | None = None, steps: int = 1) -> str:
            body = {
                "prompt": request.prompt, "num_inference_steps": steps,
                "fairness": {attribute.name: "uniform"},
            }  # fmt: skip
            headers = {} if retry is None else {"x-stainless-retry-count": str(retry)}
            async with session.post(url, json=body, headers=headers) as answer:
                answer.raise_for_status()
                (data,) = (await answer.json())["data"]
            return data["provenance"]["categories"][attribute.name]

        async def give_up(request: Request, delivered: Delivered) -> None:
            wait_s = rng.uniform(0.005, 0.05)
            with contextlib.suppress(TimeoutError):  # a picture that came all the same was got
                answer = ask(request, steps=_MANY_STEPS)
                delivered.add(request, await asyncio.wait_for(answer, wait_s))

        differ, lost, again = Delivered(), Delivered(), Delivered()
        for request in one_person(size.pictures):
            differ.add(request, await ask(request))
        for request in one_person(size.pictures, "nurse"):
            again.add(request, await ask(request, 0))
            if rng.random() < _LOST_SHARE:  # as if the answer had been lost on its way
                await ask(request, 1)
        for request in one_person(size.pictures, "pilot"):
            if rng.random() < _LOST_SHARE:
                await give_up(request, lost)
            lost.add(request, await ask(request))
    return [("prompts differ", differ), ("sent again", again), ("a third given up", lost)]


def _painted(size: TrafficSize) -> TrafficRow:
    """Return what the library gives, one picture of each prompt, on the embedded model."""
    from diffusers import DiffusionPipeline

    from fairgen import FairGenPipeline
    from fairgen.portraits import ADAPTERS, MODEL

    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    delivered = Delivered()
    with FairGenPipeline(pipe, sorted(ADAPTERS.iterdir())) as fair:
        (attribute,) = fair.attributes
        for request in one_person(size.pictures):
            (record,) = fair(request.prompt, num_inference_steps=1).records
            delivered.add(request, record.categories[attribute.name])
    return delivered.row("library: prompts differ", "person", attribute)


async def _decisions_per_s(
    recipe: Recipe, attribute: Attribute, size: TrafficSize, home: Path
) -> float:
    """Return decisions a second, each on disk and settled, 64 at once over prompts that return."""
    player, prompts = Player(recipe, attribute, home), one_person(_PROMPTS)
    await player.deliver(prompts)  # the gate has read each
    started = time.perf_counter()
    await player.deliver(prompts * (size.decisions // _PROMPTS))
    return size.decisions / (time.perf_counter() - started)


def _memory_mb(recipe: Recipe, attribute: Attribute, size: TrafficSize, home: Path) -> float:
    """Return by how much so many streams let a fresh process grow, in megabytes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(growth_mb, recipe, attribute, size.streams, home).result()


def traffic_cells(row: TrafficRow) -> list[str]:
    """Return a row as a table shows it, under `TRAFFIC_COLUMNS`."""
    figures = f"{row.fd:.3f}", f"{row.coin_fd:.3f}", f"{row.largest_gap:.1f}"
    return [row.case, row.level, str(row.n), *figures]


def traffic_table(traffic: Traffic) -> Table:
    """Return the terminal's table."""
    table = Table(title="FD of what was delivered beside a coin's; largest gap of any prefix")
    for heading in TRAFFIC_COLUMNS:
        table.add_column(heading)
    for row in traffic.rows:
        table.add_row(*traffic_cells(row))
    return table


def draw_traffic(traffic: Traffic, path: Path) -> None:
    """Plot every row's FD beside a coin's."""
    from matplotlib.figure import Figure

    names = [f"{row.case} ({row.level}, {row.n})" for row in traffic.rows]
    figure = Figure(figsize=(9, 0.36 * len(names) + 1), layout="constrained")
    axes = figure.subplots()
    at = range(len(names))
    axes.barh(at, [row.fd for row in traffic.rows], height=0.6, label="delivered")
    axes.plot([row.coin_fd for row in traffic.rows], at, "|", color="black", markersize=14,
              label="a fair coin")  # fmt: skip
    axes.set_yticks(at, names)
    axes.invert_yaxis()
    axes.set_xlabel("FD, 0 is fair")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
