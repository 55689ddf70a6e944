"""The verbs about size and speed: what a GPU holds and does, and how many of them a load needs."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import HOME, REPORT, Base, RecipePath, load_here, settings_of
from pipelines.files import check_file, write
from pipelines.recipe import DEFAULT_RECIPE

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

    check_file("out", out)
    logging.set_verbosity_error()
    console = Console()
    for speed_of_recipe in measure_speed(out, recipes or RECIPES, rounds):
        console.print(speed_table(speed_of_recipe), learning_table(speed_of_recipe))
    console.print(f"Every figure: {out}")


@speed_app.command()
def traffic(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")] = REPORT / "traffic.json",
) -> None:
    """Play shapes of traffic through indicator, library and, where champions are, the endpoint."""
    from contextlib import ExitStack

    from rich.console import Console

    check_file("out", out)
    loaded, console = load_here(recipe, base), Console()
    from pipelines import benchmarks
    from pipelines.registry import Registry, free_port, tracking_server
    from pipelines.serve import served

    name, size = loaded.attributes[0].name, benchmarks.TrafficSize()
    with tracking_server(HOME) as uri:
        has_champions = name in Registry(uri, loaded).champions()
    with ExitStack() as opened:
        address = None
        if has_champions:
            settings = settings_of(recipe, base)
            address = opened.enter_context(served(settings, HOME, "127.0.0.1", free_port()))
        else:
            console.print(f"No endpoint is asked: the registry has no champions of {name}.")
        found = benchmarks.measure_traffic(loaded, size, address)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, found.model_dump_json(indent=1) + "\n")
    benchmarks.draw_traffic(found, out.with_suffix(".png"))
    console.print(benchmarks.traffic_table(found))
    console.print(
        f"{found.decisions_per_s:,.0f} decisions a second; {size.streams:,} streams take "
        f"{found.memory_mb:.0f} MB. Every figure: {out}"
    )


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
