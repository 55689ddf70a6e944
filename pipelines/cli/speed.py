"""The verbs about size and speed: what a GPU holds and does, and how many of them a load needs."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import REPORT

speed_app = typer.Typer()


@speed_app.command()
def memory(
    measured: Annotated[
        Path | None, typer.Option(help="Figures that `fairgen speed` has written, to set beside.")
    ] = None,
) -> None:
    """Calculate the GPU memory of training for the shipped recipes; no model is loaded."""
    from diffusers.utils import logging

    from pipelines.benchmarks import memory_measured, memory_page, read_speed

    logging.set_verbosity_error()
    beside = memory_measured(read_speed(measured)) if measured else ""
    typer.echo("\n".join(filter(None, (memory_page(), beside))), nl=False)


@speed_app.command()
def speed(
    recipes: Annotated[
        list[str] | None, typer.Argument(help="Names of shipped recipes; all that it can.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 3,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")] = REPORT / "speed.json",
) -> None:
    """Measure painting and learning at full size on a GPU, with random weights."""
    from diffusers.utils import logging
    from rich.console import Console

    from pipelines.benchmarks import RECIPES, learning_table, measure_speed, speed_table

    logging.set_verbosity_error()
    console = Console()
    for speed_of_recipe in measure_speed(out, recipes or RECIPES, rounds):
        console.print(speed_table(speed_of_recipe), learning_table(speed_of_recipe))
    console.print(f"Every figure: {out}")


@speed_app.command()
def scaling(
    rates: Annotated[list[float], typer.Argument(help="Images a second.")],
    measured: Annotated[
        Path, typer.Option(help="Figures that `fairgen speed` has written.")
    ] = REPORT / "speed.json",
    per_request: Annotated[int, typer.Option(min=1, help="Pictures a request.")] = 4,
) -> None:
    """Simulate loads: how many replicas each needs, and how long requests then take."""
    from pipelines.benchmarks import indicators_for, read_speed, scaling_table

    typer.echo(scaling_table(read_speed(measured), rates, per_request))
    for rate in rates:
        typer.echo(f"{rate:,g} images/s: indicators {indicators_for(rate, per_request)}")
