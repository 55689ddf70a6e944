"""Find out whether two people in one picture can each have a category of their own.

Every step leaves a file under the experiment's folder; a run that was cut goes on from there.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import median

import torch
from pydantic import BaseModel, ConfigDict
from rich.console import Console

from fairgen.adapters import Adapter, load_adapter, save_adapter
from fairgen.attributes import render
from fairgen.backbones import load_backbone
from fairgen.discovery import Discovery
from fairgen.judging import Estimate
from fairgen.portraits import ADAPTERS, MODEL, PortraitClassifier, train_pair_base
from pipelines.experiments.groups.figures import figures, rate, women
from pipelines.experiments.groups.painting import LATENTS, PairPainter, pair_prompt
from pipelines.experiments.groups.regions import halves
from pipelines.experiments.groups.report import write_groups
from pipelines.experiments.groups.results import Condition, Groups
from pipelines.files import write
from pipelines.ray_runtime import results_key
from pipelines.recipe import Recipe, load_pipe

PROMPTS = (
    ("doctor", "doctor"), ("doctor", "nurse"), ("nurse", "doctor"), ("firefighter", "teacher"),
    ("judge", "cleaner"), ("pilot", "receptionist"), ("chef", "chef"), ("barista", "mechanic"),
)  # fmt: skip
OWN, SHIPPED = "pairs", "single portraits"  # what adapters were learnt on
_FIRST_SEED = 1000
_TIMED_PASSES = 20
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A condition to paint; `ungated` adds pictures in which one of both people wears no gates."""

    method: str
    attribute: str = "gender"
    adapters_of: str = OWN
    ungated: bool = False


PLANS = (
    Plan("base"),  # first: the others are compared with it
    Plan("words"),
    Plan("whole"),
    Plan("region", ungated=True),
    Plan("region_strong"),
    Plan("word"),
    Plan("region", adapters_of=SHIPPED),
    Plan("region_strong", adapters_of=SHIPPED),
    Plan("region_split", adapters_of=SHIPPED),
    Plan("region_found", adapters_of=SHIPPED),
    Plan("region_soft", adapters_of=SHIPPED),
)


class GroupsSize(BaseModel):
    """How much is trained and painted: `num_images` of each prompt and choice of categories."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_updates: int = 2400
    num_images: int = 8
    num_prompts: int = len(PROMPTS)
    population: int = 8_000


def groups(recipe: Recipe, home: Path, report: Path, console: Console, size: GroupsSize) -> Groups:
    """Train the base model of pairs and its adapters, paint and judge; writes `groups.json`,
    `groups.png`.

    Raises ValueError for a recipe of another base model, or another gender, than the adapters have
    that ship.
    """
    _check_embedded(recipe)
    torch.set_num_threads(1)
    folder = home.resolve() / "groups" / f"{recipe.name}-{recipe.recipe_hash}-{size.num_updates}"
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(recipe, folder, size)
    if not (folder / "base" / "model_index.json").exists():
        console.print("training the base model of pairs")
        train_pair_base(MODEL, folder / "base", size.num_updates, population=size.population)
    conditions = []
    for plan in PLANS:
        console.print(f"{plan.method}, {plan.attribute}, adapters learnt on {plan.adapters_of}")
        conditions.append(run.condition(plan))
    found = Groups(
        recipe=recipe.name,
        num_updates=size.num_updates,
        num_images=size.num_images,
        prompts=[pair_prompt(concepts) for concepts in run.prompts],
        single=run.single_portraits(),
        figures=[figures(condition, conditions[0]) for condition in conditions],
        women=women(conditions[0].pictures),
        costs=run.costs(),
    )
    write_groups(found, run.painter("gender", SHIPPED), run.prompts, report)
    return found


class _Run:
    """The files of one run, and what makes them."""

    def __init__(self, recipe: Recipe, folder: Path, size: GroupsSize) -> None:
        self._recipe, self._folder, self._size = recipe, folder, size
        key = results_key(recipe, ("generation",), size)
        self._conditions = folder / f"conditions-{key}"
        self._seeds = range(_FIRST_SEED, _FIRST_SEED + size.num_images)
        self.prompts = PROMPTS[: size.num_prompts]
        self._painters: dict[tuple[str, str], PairPainter] = {}

    @cached_property
    def _judge(self) -> PortraitClassifier:
        return PortraitClassifier(MODEL)

    def painter(self, attribute: str, adapters_of: str) -> PairPainter:
        """Return what paints pairs with an attribute's adapters."""
        key = attribute, adapters_of
        if key not in self._painters:
            self._painters = {
                key: PairPainter(
                    self._folder / "base",
                    self._recipe.attribute(attribute),
                    self._adapters(attribute, adapters_of),
                    self._judge,
                    self._recipe.generation,
                )
            }
        return self._painters[key]

    def condition(self, plan: Plan) -> Condition:
        """Return all pictures of a condition, judged."""
        name = f"{plan.method}-{plan.attribute}-{plan.adapters_of.split()[0]}"
        path = self._conditions / f"{name}.json"
        if path.exists():
            return Condition.model_validate_json(path.read_text())
        painter = self.painter(plan.attribute, plan.adapters_of)
        asked = asked_of(plan, self._recipe.attribute(plan.attribute).names)
        pictures = [
            picture
            for concepts in self.prompts
            for _, picture in painter.paint(plan.method, concepts, asked, self._seeds)
        ]
        condition = Condition(
            method=plan.method,
            attribute=plan.attribute,
            adapters_of=plan.adapters_of,
            pictures=pictures,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, condition.model_dump_json())
        return condition

    def single_portraits(self) -> dict[str, Estimate]:
        """Return how often occupations are recognised in portraits of one person."""
        found = {}
        for name, base in (("shipped", MODEL), (OWN, self._folder / "base")):
            recipe = self._recipe.model_copy(update={"base": str(base)})
            pipe, right = load_pipe(recipe), []
            for concept in sorted({concept for concepts in self.prompts for concept in concepts}):
                images = pipe(
                    [render("a photo of {subject}", concept)] * len(self._seeds),
                    generator=[torch.Generator().manual_seed(seed) for seed in self._seeds],
                    **recipe.generation.pipe_options(),
                ).images
                table = self._judge.classify(images)["concept"].argmax(1).tolist()
                right += [self._judge.heads["concept"][index] == concept for index in table]
            found[name] = _known(rate(right))
        return found

    def costs(self) -> dict[str, float]:
        """Return the processor time of a pass over that of a pass with one gate a row, by turns."""
        painter = self.painter("gender", OWN)
        asked = [("woman", "man")] * 8
        gates = painter.gates(asked)
        gates_NPK = torch.cat([torch.zeros_like(gates), gates])
        regions, x, t = halves(*LATENTS), torch.randn(16, 12, *LATENTS), torch.tensor(500)
        text = torch.randn(16, 16, 128)
        times: dict[str, list[float]] = {"whole": [], "base": [], "region": [], "word": []}
        for _ in range(_TIMED_PASSES):
            for method, seconds in times.items():
                with torch.no_grad(), painter.gated(method, PROMPTS[0], gates_NPK, regions):
                    started = time.thread_time()
                    painter.pipe.unet(x, t, text)
                    seconds.append(time.thread_time() - started)
        return {name: median(times[name]) / median(times["whole"]) for name in times}

    def _learn(self, attribute: str) -> None:
        """Learn an attribute's adapters on the base model of pairs, from single prompts alone."""
        done = self._folder / "adapters" / attribute
        if done.exists():
            return
        recipe = self._recipe.model_copy(update={"base": str(self._folder / "base")})
        backbone = load_backbone(load_pipe(recipe))
        discovery = Discovery(
            backbone,
            recipe.attribute(attribute),
            recipe.concepts.train,
            recipe.templates,
            recipe.discovery_of(attribute),
            preserve=recipe.preserve,
            attributes=recipe.attributes,
        )
        while discovery.step < discovery.config.num_updates:
            stats = discovery.update()
            if stats.step % 20 == 0:
                log.info("%s update %d: %.3f", attribute, stats.step, stats.relative_error)
        partial = done.with_suffix(".partial")
        for adapter in discovery.adapters(backbone.fingerprint, recipe.recipe_hash):
            save_adapter(adapter, partial / adapter.name)
        partial.replace(done)

    def _adapters(self, attribute: str, adapters_of: str) -> list[Adapter]:
        folder = ADAPTERS
        if adapters_of == OWN:
            folder = self._folder / "adapters" / attribute
            self._learn(attribute)
        return [load_adapter(folder / name) for name in self._recipe.adapter_names(attribute)]


def _check_embedded(recipe: Recipe) -> None:
    """Raise ValueError for a recipe that the shipped adapters of gender do not fit."""
    if recipe.base_path != str(MODEL):
        raise ValueError(f"base: got {recipe.base!r}, allowed is the embedded model, {MODEL}")
    if set(names := recipe.attribute("gender").names) != {"woman", "man"}:
        raise ValueError(f"gender: got {list(names)}, allowed are woman and man")


def asked_of(plan: Plan, categories: Sequence[str]) -> list[tuple[str, str]]:
    """Return the categories of left and right that a condition's pictures ask for."""
    if plan.method == "base":
        return [("", "")]
    if plan.method == "whole":
        return [(name, name) for name in categories]
    found = list(product(categories, categories))
    if plan.ungated:
        found += [pair for name in categories for pair in (("", name), (name, ""))]
    return found


def _known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found
