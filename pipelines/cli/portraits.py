"""The verbs that make and measure the embedded base model."""

from pathlib import Path
from typing import Annotated

import typer

from fairgen.portraits import MODEL

portraits_app = typer.Typer()


@portraits_app.command()
def portraits(
    stages: Annotated[
        list[str] | None, typer.Argument(help="Stages to run; all of them, in their order.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Checkpoints go here.")] = Path(
        "portraits-pretraining"
    ),
    destination: Annotated[Path, typer.Option(help="The model's folder.")] = MODEL,
) -> None:
    """Rebuild the embedded base model and its judge from nothing; hours on two cores."""
    from fairgen.portraits import rebuild_base

    rebuild_base(stages, folder, destination)


@portraits_app.command("portraits-sibling")
def portraits_sibling(
    destination: Annotated[Path, typer.Argument(help="The folder to write.")],
    base: Annotated[Path, typer.Option(help="The model to fine-tune.")] = MODEL,
) -> None:
    """Fine-tune the embedded base model on a mirrored population; minutes."""
    from fairgen.portraits import write_sibling

    write_sibling(base, destination)


@portraits_app.command("portraits-report")
def portraits_report(
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("docs/portraits"),
    num_images: Annotated[int, typer.Option(min=1, help="Pictures an occupation.")] = 100,
    num_per_word: Annotated[int, typer.Option(min=1, help="Pictures a category's word.")] = 10,
    num_steps: Annotated[int, typer.Option(min=1)] = 12,
    guidance_scale: Annotated[float, typer.Option(min=0)] = 3.0,
    processes: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Measure the embedded base model: its judge, its occupations, its planted bias."""
    from fairgen.portraits import ReportSize, measure_base

    size = ReportSize(num_steps, guidance_scale, num_images, num_per_word)
    measure_base(out, size, processes)
