"""Fit registered adapters to another base model, an adapter a task: each at its own strength."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from fairgen.adapters import load_adapter, save_adapter
from pipelines.ray_runtime import actor_pool
from pipelines.recipe import Recipe, load_painter

if TYPE_CHECKING:
    from fairgen.discovery import StrengthFit


class StrengthWorker:
    """One Ray actor a core or GPU, which loads the base model once."""

    def __init__(self, recipe: Recipe) -> None:
        from fairgen.discovery import StrengthSearch

        generation = recipe.generation
        self._recipe = recipe
        self._search = StrengthSearch(
            load_painter(recipe),
            recipe.concepts.train,
            recipe.templates,
            replace(generation.sampling, taylorseer=None),
            batch_size=generation.batch_size,
        )

    def fit(self, folder: Path, into: Path) -> "tuple[str, StrengthFit]":
        """Write the adapter in a folder as one of this base into another; return its name and
        strength.
        """
        adapter = load_adapter(folder)
        attribute = self._recipe.attribute(adapter.metadata.attribute)
        fitted, fit = self._search.fit(attribute, adapter)
        save_adapter(fitted, into)
        return adapter.name, fit


def fit_strengths(
    recipe: Recipe,
    adapter_folders: Mapping[Path, Path],
    progress: Callable[[str, int, int], None],
) -> "dict[str, StrengthFit]":
    """Return the strength of every adapter on the recipe's base by its name; each folder's fitted
    adapter is written to the folder that it is mapped to. Needs a running Ray.

    Raises ValueError for an adapter of a model of another structure.
    """
    workers = actor_pool(StrengthWorker, recipe, at_most=len(adapter_folders))
    fits: dict[str, StrengthFit] = {}
    fitted = workers.map_unordered(
        lambda actor, folders: actor.fit.remote(*folders), list(adapter_folders.items())
    )
    progress("fit", 0, len(adapter_folders))
    for name, fit in fitted:
        fits[name] = fit
        progress("fit", len(fits), len(adapter_folders))
    return dict(sorted(fits.items()))


def strength_table(fits: "Mapping[str, StrengthFit]") -> Table:
    """Return the terminal's table: strengths, and what share of pictures shows the category by the
    model's own predictions.
    """
    num_images = max(fit.num_images for fit in fits.values())
    table = Table(
        title=f"Share of N={num_images} pictures each that shows the category, by the model's own "
        "predictions"
    )
    tried = sorted({strength for fit in fits.values() for strength in fit.shown})
    for heading in ("adapter", "strength", *(f"x {strength:g}" for strength in tried)):
        table.add_column(heading)
    for name, fit in fits.items():
        shares = (f"{fit.shown[s]:.2f}" if s in fit.shown else "" for s in tried)
        table.add_row(name, f"{fit.strength:g}", *shares)
    return table
