"""The engine that serves, as a source of pictures."""

from collections.abc import Iterable, Sequence

from PIL import Image

from fairgen.adapters import Adapter
from fairgen.attributes import adapter_name
from fairgen.backbones import Backbone
from fairgen.engine import Engine, ImageJob, StartImage
from fairgen.sampling import Sampling
from pipelines.evaluation.measure import PromptPlan


class EngineSource:
    """Paints with an engine of its own, at most `batch_size` pictures at once. One thread uses it.

    Without adapters it paints with the base model. The adapters of a picture's categories are on.
    """

    def __init__(
        self,
        backbone: Backbone,
        sampling: Sampling,
        batch_size: int,
        adapters: Iterable[Adapter] = (),
    ) -> None:
        guided = backbone.is_guided(sampling.guidance_scale)
        self._engine = Engine(backbone, max_rows=max(2, batch_size * (2 if guided else 1)))
        self._sampling = sampling
        self.load(adapters)

    def load(self, adapters: Iterable[Adapter]) -> None:
        """Load adapters. Raises ValueError for one that does not fit."""
        for adapter in adapters:
            self._engine.load(adapter.name, adapter)

    def paint(self, plan: PromptPlan, starts: Sequence[StartImage] = ()) -> list[Image.Image]:
        """Return one picture a seed, begun from the picture of its place in `starts` where there
        are any. Raises RuntimeError where one could not be painted.
        """
        begun: Sequence[StartImage | None] = starts or [None] * len(plan.seeds)
        jobs = [
            ImageJob(
                plan.prompt,
                seed,
                {adapter_name(*category): 1.0 for category in categories.items()},
                start=start,
                **vars(self._sampling),
            )
            for seed, categories, start in zip(plan.seeds, plan.categories, begun, strict=True)
        ]
        return self._engine.paint(jobs)

    def close(self) -> None:
        """Take the engine and its adapters off the model for good."""
        self._engine.close()
