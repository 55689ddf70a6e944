"""The verbs that ask what a setting, a rival or another use is worth."""

from typing import Annotated

import typer

from pipelines.cli.options import HOME, REPORT, Base, RecipePath, load, load_here, report_folder
from pipelines.recipe import DEFAULT_RECIPE

experiments_app = typer.Typer()


@experiments_app.command()
def compare(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    full: Annotated[
        bool, typer.Option(help="The full size of the recipe, not the quick one.")
    ] = False,
) -> None:
    """Compare the trained adapters with rivals on the same base model; writes report/."""
    from rich.console import Console

    loaded, console = load_here(recipe, base), Console()
    from pipelines import experiments

    found = experiments.compare(loaded, full, HOME, report_folder(), console)
    conditions = experiments.eval_conditions(loaded)
    robustness = experiments.robustness_table(found, conditions)
    console.print(*experiments.comparison_tables(found), robustness)
    typer.echo(f"Tables, plots and pictures: {REPORT / 'compare.html'}")


@experiments_app.command()
def ablate(recipe: RecipePath = DEFAULT_RECIPE, base: Base = None) -> None:
    """Measure what each setting of discovery is worth, and a hit rate's cost; writes report/."""
    from rich.console import Console

    loaded, console = load_here(recipe, base), Console()
    from pipelines import experiments

    found = experiments.ablate(loaded, HOME, report_folder(), console)
    console.print(*experiments.ablation_tables(found))
    typer.echo(f"Plot: {REPORT / 'ablation.png'}; every figure: {REPORT / 'ablation.json'}")


@experiments_app.command()
def groups(
    recipe: RecipePath = DEFAULT_RECIPE,
    num_updates: Annotated[int, typer.Option(min=1, help="Updates of the base of pairs.")] = 2400,
    num_images: Annotated[int, typer.Option(min=1, help="Pictures a prompt and choice.")] = 8,
) -> None:
    """Find out whether two people in one picture can differ in category; writes report/."""
    import logging

    from rich.console import Console

    from pipelines import experiments

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    loaded, console = load(recipe), Console()
    size = experiments.GroupsSize(num_updates=num_updates, num_images=num_images)
    found = experiments.groups(loaded, HOME, report_folder(), console, size)
    console.print(experiments.groups_table(found))
    typer.echo(f"Pictures: {REPORT / 'groups.png'}; every figure: {REPORT / 'groups.json'}")


@experiments_app.command()
def edits(
    recipe: RecipePath = DEFAULT_RECIPE,
    num_images: Annotated[int, typer.Option(min=1, help="Pictures a concept and start.")] = 16,
) -> None:
    """Measure what edits of pictures change that nobody asked; writes report/."""
    from rich.console import Console

    from pipelines import experiments
    from pipelines.recipe import EvaluationSize

    loaded, console = load(recipe), Console()
    size = EvaluationSize(num_images=num_images, concepts=loaded.concepts.held_out)
    found = experiments.edits(loaded, HOME, report_folder(), console, size)
    console.print(experiments.edits_table(found))
    typer.echo(f"Pictures: {REPORT / 'edits.png'}; every figure: {REPORT / 'edits.json'}")
