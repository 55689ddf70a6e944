"""What the workers of every experiment share: one base model, one judge, and any method as a source
of pictures.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

from PIL import Image

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute
from fairgen.backbones import load_backbone
from fairgen.baselines import Ask, BaselineTask, System, Weights
from fairgen.sampling import Sampling
from pipelines.evaluation import EngineSource, ImageSource, Judges, PromptPlan
from pipelines.recipe import Recipe, load_judge, load_pipe


class EngineMethod:
    """A method that the serving engine paints. It has no knob."""

    title: ClassVar[str]
    source: ClassVar[str] = ""
    knob: ClassVar[str] = ""
    settings: ClassVar[tuple[float, ...]] = (1.0,)
    rows_per_image: ClassVar[float] = 2.0


class Base(EngineMethod):
    """The base model without adapters."""

    title = "base model"


class FairGen(EngineMethod):
    """The adapters of the asked categories, on the conditional rows."""

    title = "FairGen"
    source = "arXiv 2412.18810"


Method = type[EngineMethod] | type[System]


class SystemSource:
    """A rival's system as a source of pictures, so many at a time."""

    def __init__(self, system: System, sampling: Sampling, batch_size: int) -> None:
        self._system, self._sampling, self._batch_size = system, sampling, batch_size

    def paint(self, plan: PromptPlan) -> list[Image.Image]:
        """Return one picture a seed."""
        ask = Ask(plan.template, plan.phrase, plan.seeds, plan.categories)
        return self._system.paint_in_batches(ask, self._sampling, self._batch_size)


class MethodRunner:
    """Opens methods on one base model. One a worker process, which loads the models once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        painting = recipe.generation
        self.backbone = load_backbone(load_pipe(recipe), painting.size_px, painting.instruction)
        self.judges = Judges(recipe.attributes, load_judge(recipe))
        self.sampling = replace(recipe.generation.sampling, taylorseer=None)  # no rival has it

    def task(self, max_rows: int, attributes: Sequence[Attribute] = ()) -> BaselineTask:
        """Return what a rival may learn from: all attributes of the recipe, or those given."""
        recipe = self.recipe
        return BaselineTask(
            attributes=attributes or recipe.attributes,
            concepts=recipe.concepts.train,
            templates=recipe.templates,
            preserve=recipe.preserve,
            sampling=self.sampling,
            judge=self.judges.first,
            max_rows=max_rows,
        )

    @contextmanager
    def open_engine(
        self, adapters: Sequence[Adapter] = (), sampling: Sampling | None = None
    ) -> Iterator[ImageSource]:
        """Give the engine with adapters; without them it is the base model."""
        sampling = sampling or self.sampling
        batch_size = self.recipe.generation.batch_size
        source = EngineSource(self.backbone, sampling, batch_size, adapters)
        try:
            yield source
        finally:
            source.close()

    @contextmanager
    def open_system(
        self,
        kind: type[System],
        task: BaselineTask,
        weights: Weights,
        setting: float,
        sampling: Sampling | None = None,
    ) -> Iterator[ImageSource]:
        """Give a rival's system with trained weights and its knob at a setting."""
        system = kind(self.backbone, task, weights, setting)
        try:
            yield SystemSource(system, sampling or self.sampling, self.recipe.generation.batch_size)
        finally:
            system.close()
