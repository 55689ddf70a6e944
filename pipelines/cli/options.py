"""What the verbs of the `fairgen` command share: folders, options, the recipe, refusals."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pipelines.recipe import Recipe
    from pipelines.serve import ServeSettings

_SHARED = os.environ.get("FAIRGEN_HOME")  # on a cluster: a folder that all nodes see
HOME = Path(_SHARED or ".fairgen")
REPORT = HOME / "report" if _SHARED else Path("report")
RECIPE = "The recipe that drives every stage: its file, or the name of one that ships."
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help=RECIPE)]
Base = Annotated[
    str | None, typer.Option(help="A folder or hub id in place of the recipe's base model.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        envvar="FAIRGEN_CLUSTER",
        help="Run on a Ray cluster: its dashboard, such as http://head:8265.",
    ),
]
CALIBRATE = "Ask the adapters so that, with their measured misses, the target is what is seen."


def load(path: Path, base: str | None = None) -> "Recipe":
    """Return the recipe, or end the command with the reason why it cannot be used."""
    from pipelines.recipe import load_recipe

    try:
        return load_recipe(path, base)
    except ValueError as error:
        raise refusal(error) from error


def refusal(error: Exception) -> typer.Exit:
    """Return the end of a command that shows the error."""
    typer.secho(str(error), fg="red", err=True)
    return typer.Exit(2)


def settings_of(recipe: Path, base: str | None, **changes: Any) -> "ServeSettings":
    """Return the endpoint's settings for a recipe, found from whatever folder a replica runs in."""
    from pipelines.serve import ServeSettings

    path = recipe.resolve() if recipe.is_file() else recipe
    folder = str(Path(base).resolve()) if base and Path(base).is_dir() else base
    return ServeSettings(recipe=path, base=folder, **changes)
