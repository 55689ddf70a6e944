"""The library's front door: any diffusers pipeline, its pictures in the prescribed distribution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.adapters import Adapter, load_adapter
from fairgen.attributes import Attribute, Category
from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.base_model import fingerprint, short, storage_of
from fairgen.indicator import TargetDistribution, gates
from fairgen.ledger import AssignmentMethod, assign
from fairgen.passes import PassGates

Fairness = Mapping[str, object] | TargetDistribution | Literal["off"] | None
_OURS = {"num_images_per_prompt": "num_images", "generator": "seed"}


class ImageRecord(BaseModel):
    """Where a picture comes from: its seed, its categories, how likely they were, what was on.

    `prompt` is None where an embedded one was given. `adapters` holds the first 12 hex digits of
    the weights' sha256 of each adapter by its name; `base` is the base model's fingerprint and
    `storage` how its weights are kept, such as "float16" or "nf4, bfloat16". `flagged` says that
    the base model's own safety checker made the picture black.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str | None
    seed: int
    categories: dict[str, str]
    probability: float
    adapters: dict[str, str]
    base: str
    storage: str
    flagged: bool = False


@dataclass(frozen=True)
class FairGenOutput:
    """Pictures and one record for each."""

    images: list[Image.Image]
    records: list[ImageRecord]


class FairGenPipeline:
    """Wraps a diffusers pipeline; with fairness off it is that pipeline, pixel by pixel.

    The pipeline stays as it is: nothing of it is frozen, cast or moved, and `close` (or the end of
    a `with`) takes the bank's hooks off again. One thread may call it.
    """

    def __init__(
        self,
        pipe: DiffusionPipeline,
        adapters: Sequence[Adapter | Path | str],
        *,
        siblings: bool = False,
    ) -> None:
        """Load the adapters into a bank on the pipe's denoiser; with `siblings` also those of a
        model that this one was fine-tuned from, or with.

        Raises ValueError for an adapter of another base model, or a file that cannot be trusted.
        """
        self.pipe = pipe
        self._backbone = load_backbone(pipe)
        base = fingerprint(self._backbone.denoiser)
        self._base, self._storage = short(base), storage_of(self._backbone.denoiser)
        self.adapters = [
            given if isinstance(given, Adapter) else load_adapter(Path(given)) for given in adapters
        ]
        for adapter in self.adapters:
            adapter.check_base(base, siblings)
        projections = list(dict.fromkeys(path for a in self.adapters for path in a.directions))
        self.bank = AdapterBank(self._backbone.denoiser, projections, self._backbone.device)
        for adapter in self.adapters:
            self.bank.add(adapter.name, adapter.directions)
        self._passes = PassGates(self._backbone, self.bank)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the adapters off the pipeline."""
        self.bank.close()

    def to(self, *args: torch.device | torch.dtype | str) -> Self:
        """Move the pipeline as its own `to` does; the adapters follow wherever it runs."""
        self.pipe.to(*args)
        return self

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes whose adapters are loaded. Raises ValueError for a lone category."""
        found: dict[str, list[Category]] = {}
        for adapter in self.adapters:
            metadata = adapter.metadata
            found.setdefault(metadata.attribute, []).append(
                Category(name=metadata.category, word=metadata.word)
            )
        for name, categories in found.items():
            if len(categories) == 1:
                raise ValueError(
                    f"adapters: got {categories[0].name!r} alone of {name}, "
                    "allowed are two or more categories of an attribute"
                )
        return tuple(
            Attribute(name=name, categories=tuple(values)) for name, values in found.items()
        )

    def __call__(
        self,
        prompt: str | None = None,
        num_images: int = 1,
        fairness: Fairness = None,
        *,
        seed: int = 0,
        assignment: AssignmentMethod = "quota",
        batch_size: int = 16,
        **pipe_options: Any,
    ) -> FairGenOutput:
        """Return `num_images` pictures with the seeds seed, seed + 1, ... and their records.

        `fairness` None means uniform over all loaded attributes. `pipe_options` go to the wrapped
        pipeline as they are; an embedded prompt is given as its `prompt_embeds` (and what else the
        family takes), with `prompt` left out. Raises ValueError for a request that the adapters
        cannot meet, and for options that would return no pictures, or another number of them;
        LayerNotReached where the adapters did not act, so that no record names one that the picture
        did not feel.
        """
        if refused := sorted({"output_type", "return_dict"} & pipe_options.keys()):
            raise ValueError(f"{refused[0]}: allowed are PIL pictures only, call `pipe` itself")
        if refused := sorted(_OURS.keys() & pipe_options.keys()):
            raise ValueError(f"{refused[0]}: allowed is {_OURS[refused[0]]!r} in its place")
        _check_one_prompt(prompt, pipe_options.get("prompt_embeds"))
        seeds = list(range(seed, seed + num_images))
        if fairness == "off" or (fairness is None and not self.adapters):
            gates_NK = torch.zeros(num_images, len(self.bank.names))
            records = [self._record(prompt, s) for s in seeds]
        else:
            target = self._target(fairness)
            cells = assign(target, num_images, seed, assignment)
            gates_NK = gates(target, cells, self.bank.names)
            records = [
                self._record(prompt, s, target, cell) for s, cell in zip(seeds, cells, strict=True)
            ]
        images: list[Image.Image] = []
        flags: list[bool] = []
        for start in range(0, num_images, batch_size):
            part = slice(start, start + batch_size)
            output = self._paint(prompt, seeds[part], gates_NK[part], pipe_options)
            images += output.images
            flags += getattr(output, "nsfw_content_detected", None) or [False] * len(output.images)
        records = [
            record.model_copy(update={"flagged": bool(flag)})
            for record, flag in zip(records, flags, strict=True)
        ]
        return FairGenOutput(images, records)

    def _target(
        self, fairness: Mapping[str, object] | TargetDistribution | None
    ) -> TargetDistribution:
        if isinstance(fairness, TargetDistribution):
            return fairness
        if fairness is None:
            fairness = {attribute.name: "uniform" for attribute in self.attributes}
        return TargetDistribution.from_request(fairness, self.attributes)

    def _paint(
        self,
        prompt: str | None,
        seeds: Sequence[int],
        gates_NK: torch.Tensor,
        pipe_options: Mapping[str, Any],
    ) -> Any:
        """Run the pipe on one batch, each conditional row with its picture's gates."""
        self.bank.follow(self._backbone.device)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        given = pipe_options if prompt is None else {"prompt": prompt, **pipe_options}
        options = self._backbone.call_options(len(seeds), given)
        with self._passes.gating(gates_NK):
            return self.pipe(generator=generators, **options)

    def _record(
        self, prompt: str | None, seed: int, target: TargetDistribution | None = None, cell: int = 0
    ) -> ImageRecord:
        """Return the record of a picture of a cell, or of one without fairness."""
        categories = {}
        if target is not None:
            categories = dict(zip(target.attributes, target.cells[cell], strict=True))
        on = {
            adapter.name: adapter.sha256[:12]
            for adapter in self.adapters
            if categories.get(adapter.metadata.attribute) == adapter.metadata.category
        }
        return ImageRecord(
            prompt=prompt,
            seed=seed,
            categories=categories,
            probability=1.0 if target is None else target.probabilities[cell],
            adapters=on,
            base=self._base,
            storage=self._storage,
        )


def _check_one_prompt(prompt: object, prompt_embeds: torch.Tensor | None) -> None:
    """Raise ValueError unless there is one prompt, as text or embedded."""
    if prompt_embeds is not None and len(prompt_embeds) != 1:
        raise ValueError(f"prompt_embeds: got {len(prompt_embeds)} rows, allowed is 1")
    if isinstance(prompt, str) == (prompt_embeds is not None) or not isinstance(prompt, str | None):
        beside = "without" if prompt_embeds is None else "with"
        raise ValueError(
            f"prompt: got {type(prompt).__name__} {beside} prompt_embeds, allowed is one text, or "
            "one embedded prompt"
        )
