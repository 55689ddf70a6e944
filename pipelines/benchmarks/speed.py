"""`make speed`: pictures a second and memory of the shipped recipes at full size, on a GPU."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from rich.table import Table

from fairgen.backbones import load_backbone
from pipelines.benchmarks.full_size import Learning, Painting, learning, painting, random_pipeline
from pipelines.benchmarks.memory_estimate import (
    CATEGORIES,
    RANK,
    DenoiserShape,
    discovery_memory,
    full_size_shapes,
    markdown_table,
)
from pipelines.files import write
from pipelines.recipe import Recipe, load_recipe

RECIPES = ("sd15", "sdxl")
_PICTURES = (1, 4, 8, 16, 32)
_MOST_PX = 8 * 1024 * 1024  # at once; more would only be slower and larger


class RecipeSpeed(BaseModel):
    """The figures of one recipe's pipeline at full size."""

    recipe: str
    picture: str
    steps: int
    guidance_scale: float
    rounds: int
    painting: list[Painting]
    learning: list[Learning]

    @property
    def best(self) -> Painting:
        """The batch that paints most pictures a second."""
        return max(self.painting, key=lambda found: found.images_per_s)


class Speed(BaseModel):
    """Figures of one run, on one device."""

    date: str
    device: str
    torch: str
    recipes: list[RecipeSpeed]


def read_speed(path: Path) -> Speed:
    """Return figures that `measure_speed` has written. Raises ValueError where there are none."""
    try:
        return Speed.model_validate_json(path.read_text())
    except OSError as error:
        raise ValueError(
            f"measured: got {str(path)!r}, which cannot be read; `fairgen speed` on a GPU writes it"
        ) from error
    except ValidationError as error:
        raise ValueError(
            f"measured: got {str(path)!r}, which does not hold what `fairgen speed` writes"
        ) from error


def measure_speed(
    out: Path, names: Sequence[str] = RECIPES, rounds: int = 3
) -> Iterator[RecipeSpeed]:
    """Measure recipe by recipe; after each, `out` holds what is known.

    Raises ValueError for a recipe whose pipeline cannot be built here, and without a GPU.
    """
    shapes = full_size_shapes()
    for name in names:
        if name not in shapes or shapes[name].pipeline is None:
            allowed = [known for known, shape in shapes.items() if shape.pipeline]
            raise ValueError(f"recipes: got {name!r}, allowed are {allowed}")
    if not torch.cuda.is_available():
        raise ValueError("device: got a machine without a GPU, allowed is one with a CUDA GPU")
    found = Speed(
        date=datetime.now(UTC).date().isoformat(),
        device=torch.cuda.get_device_name(),
        torch=torch.__version__,
        recipes=[],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        recipe = load_recipe(name)
        found.recipes.append(family_speed(recipe, shapes[name], rounds=rounds))
        write(out, json.dumps(found.model_dump(), indent=2) + "\n")
        yield found.recipes[-1]


def family_speed(
    recipe: Recipe,
    shape: DenoiserShape,
    device: str = "cuda",
    pictures: Sequence[int] = _PICTURES,
    rounds: int = 3,
) -> RecipeSpeed:
    """Measure under a recipe's own settings of generation and discovery.

    In bf16 on a GPU, in fp32 on a CPU: many have no arithmetic in bf16.
    """
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    backbone = load_backbone(random_pipeline(shape, device, dtype))
    settings, discovery = recipe.generation, recipe.discovery
    _, height, width = backbone.latent_shape()
    at_once = [count for count in pictures if count * height * width * 64 <= _MOST_PX]
    adapters: dict[str, Any] = {"rank": discovery.rank, "projections": discovery.projections}
    return RecipeSpeed(
        recipe=recipe.name,
        picture=shape.picture,
        steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        rounds=rounds,
        painting=[
            painting(
                backbone, count, settings.steps, settings.guidance_scale, rounds=rounds, **adapters
            )
            for count in at_once
        ],
        learning=[
            learning(
                backbone,
                recipe.attributes[0],
                recipe.concepts.train,
                recipe.templates,
                discovery,
                checkpointed,
                rounds,
            )
            for checkpointed in (True, False)
        ],
    )


def speed_table(found: RecipeSpeed) -> Table:
    """Return the terminal's table of painting."""
    table = Table(title=f"{found.recipe}, {found.picture}, {found.steps} steps, guided")
    for heading in ("pictures at once", "s a step", "images/s", "plain diffusers", "peak GiB"):
        table.add_column(heading, justify="right")
    for row in found.painting:
        table.add_row(
            str(row.pictures),
            f"{row.step_s:.4f}",
            f"{row.images_per_s:.2f}",
            f"{row.plain_images_per_s:.2f}",
            f"{row.peak_gib:.1f}",
        )
    return table


def learning_table(found: RecipeSpeed) -> Table:
    """Return the terminal's table of discovery."""
    table = Table(title=f"{found.recipe}, one update of discovery")
    for heading in ("rows", "checkpointed", "s an update", "peak GiB"):
        table.add_column(heading, justify="right")
    for row in found.learning:
        table.add_row(
            str(row.num_rows),
            "yes" if row.checkpointed else "no",
            f"{row.update_s:.3f}",
            f"{row.peak_gib:.1f}",
        )
    return table


def memory_measured(found: Speed) -> str:
    """Return the section of docs/memory.md that compares measured with calculated memory."""
    columns = ("recipe", "rows", "checkpointed", "calculated, GiB", "measured, GiB", "s an update")
    shapes, rows = full_size_shapes(), []
    for speed in found.recipes:
        counted = discovery_memory(shapes[speed.recipe], RANK, CATEGORIES)
        rows += [
            (
                f"`{speed.recipe}`",
                str(row.num_rows),
                "yes" if row.checkpointed else "no",
                f"{counted.total_gib(row.num_rows, row.checkpointed):.2f}",
                f"{row.peak_gib:.2f}",
                f"{row.update_s:.2f}",
            )
            for row in speed.learning
        ]
    return f"""## Measured

`make speed` on one {found.device} ({found.date}, torch {found.torch}):
random weights, the recipes' own settings, text encoders with the small vocabulary of the
embedded model, which saves up to 0.2 GiB. The figures: `docs/speed.json`.

{markdown_table(columns, rows)}"""
