"""One build's side of a race: a program of its own, with that build's folder on PYTHONPATH.

It imports nothing of the build that this file belongs to, and knows the names of builds since
commit 9d74c97. The recipe's file is its one argument. For each line of its input, such as
"engine 24", it does that once and answers with a line of JSON: `seconds`, or `error`.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import torch

_ADAPTERS, _ADAPTERS_EACH, _RANK = 24, 3, 4


def _named(*places: tuple[str, str]) -> Any:
    """Return the first of these names of modules that this build has."""
    for module, name in places:
        with suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(module), name)
    raise ValueError(f"against: got a build that has none of {places}; allowed are later ones")


class Side:
    """What this build has loaded: each thing once, at the first line that needs it."""

    def __init__(self, recipe_path: str) -> None:
        recipe_module = importlib.import_module("pipelines.recipe")
        self._recipe = recipe_module.load_recipe(recipe_path)
        self._load_painter = getattr(recipe_module, "load_painter", self._plain_painter)
        self._engine: Any = None
        self._discovery: Any = None

    def engine(self, num_images: int) -> None:
        """Paint so many pictures at once, each with three adapters."""
        if self._engine is None:
            self._engine = self._make_engine()
        job = _named(("fairgen.engine", "ImageJob"), ("fairgen.pictures", "Picture"))
        names, generation = self._engine.bank.names, self._recipe.generation
        sampling = getattr(generation, "sampling", None)
        options = vars(sampling) if sampling else {
            "num_steps": generation.steps, "guidance_scale": generation.guidance_scale
        }  # fmt: skip
        jobs = [
            job(
                f"a photo of a person {row}",
                seed=row,
                gates={names[(row + 8 * i) % len(names)]: 1.0 for i in range(_ADAPTERS_EACH)},
                **options,
            )
            for row in range(num_images)
        ]
        self._engine.submit(jobs)
        finished = sum(bool(getattr(event, "final", False)) for event in self._engine.run())
        if finished != num_images:
            raise RuntimeError(f"{num_images - finished} of {num_images} pictures failed")

    def update(self) -> None:
        """Take one update of the recipe's first attribute, alone and from the start."""
        if self._discovery is None:
            recipe, attribute = self._recipe, self._recipe.attributes[0]
            config = recipe.discovery_of(attribute.name)
            self._discovery = _named(("fairgen.discovery", "Discovery"))(
                self._load_painter(recipe),
                attribute,
                recipe.concepts.train,
                recipe.templates,
                config,
                preserve=recipe.preserve,
                attributes=recipe.attributes,
            )
        self._discovery.update()

    def _plain_painter(self, recipe: Any) -> Any:
        """Return what a build painted with that chose no precision yet."""
        load_pipe = getattr(importlib.import_module("pipelines.recipe"), "load_pipe", None)
        pipe = recipe.load_pipe() if load_pipe is None else load_pipe(recipe)
        load_backbone = _named(("fairgen.backbones", "load_backbone"))
        return load_backbone(pipe, recipe.generation.size_px)

    def _make_engine(self) -> Any:
        backbone = self._load_painter(self._recipe)
        engine = _named(("fairgen.engine", "Engine"))(backbone, max_rows=48)
        for seed in range(_ADAPTERS):
            generator = torch.Generator().manual_seed(seed)
            directions = {}
            for path in backbone.projections(self._recipe.discovery.projections):
                layer = backbone.denoiser.get_submodule(path)
                down = torch.randn(_RANK, layer.in_features, generator=generator)
                up = torch.randn(layer.out_features, _RANK, generator=generator)
                directions[path] = (down / layer.in_features, up / layer.out_features)
            engine.bank.add(f"adapter-{seed}", directions)
        return engine


def answers(side: Side, lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield what each line has taken."""
    for line in lines:
        what, *numbers = line.split()
        acts: dict[str, Callable[..., None]] = {"engine": side.engine, "update": side.update}
        started = time.perf_counter()
        try:
            acts[what](*map(int, numbers))
        except Exception as error:
            yield {"error": f"{type(error).__name__}: {error}"}
            continue
        yield {"seconds": time.perf_counter() - started}


def main() -> None:
    """Answer line by line, until the input ends."""
    torch.set_num_threads(1)
    for answer in answers(Side(sys.argv[1]), iter(sys.stdin.readline, "")):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
