"""The verbs of the registry: show, promote, export, import, browse."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import (
    HOME,
    RECIPE,
    Base,
    RecipePath,
    check_seeds,
    counted,
    load,
    parse_fairness,
)
from pipelines.files import check_out
from pipelines.recipe import DEFAULT_RECIPE

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.registry import RegisteredVersion

registry_app = typer.Typer()
_DRAWN = 24  # pictures of a set, unless said
_WIDEST = 1000  # columns of a table that no terminal may cut: `promote` wants a whole set
_moving = typer.Typer(no_args_is_help=True, help="Move a registry.")
registry_app.add_typer(_moving, name="registry")


@registry_app.command()
def adapters(recipe: RecipePath = DEFAULT_RECIPE, base: Base = None) -> None:
    """Show the registered adapters of a recipe, their aliases and what was measured."""
    from rich.console import Console

    from pipelines.registry import Registry, tracking_server

    loaded = load(recipe, base)
    with tracking_server(HOME) as uri:
        Console(width=_WIDEST).print(_versions_table(Registry(uri, loaded).versions()))


@registry_app.command()
def promote(
    attribute: Annotated[str, typer.Argument(help="The attribute, such as gender.")],
    adapter_set: Annotated[
        str | None, typer.Option(help="The set to promote; the candidates' when left out.")
    ] = None,
    recipe: Annotated[Path, typer.Option(help=RECIPE)] = DEFAULT_RECIPE,
    force: Annotated[bool, typer.Option(help="Also below the recipe's thresholds.")] = False,
    base: Base = None,
) -> None:
    """Make a complete adapter set champion; refused below the recipe's thresholds."""
    from pipelines.registry import Registry, tracking_server
    from pipelines.registry import promote as promote_set

    loaded = load(recipe, base)
    with tracking_server(HOME) as uri:
        for version in promote_set(Registry(uri, loaded), attribute, adapter_set, force):
            typer.echo(f"{version.name} version {version.version}: champion")


@registry_app.command("export")
def export_adapters(
    name: Annotated[
        str | None, typer.Argument(help="The adapter, such as gender-woman; or else --set.")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="diffusers (unless said), peft or kohya.")
    ] = None,
    tool: Annotated[
        str | None,
        typer.Option("--for", help="The tool: comfyui, a1111, forge, invokeai or diffusers."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="An attribute: all its adapters, with what draws them."),
    ] = None,
    fairness: Annotated[
        list[str] | None,
        typer.Option(help="ATTRIBUTE=uniform or ATTRIBUTE=CATEGORY:SHARE,... of a --set."),
    ] = None,
    num_images: Annotated[
        int | None,
        typer.Option(
            "-n", "--num-images", help=f"Pictures of a --set: {_DRAWN}.", min=1, max=10_000
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="What a --set paints; a person when left out.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The first picture's seed of a --set: 0.", min=0)
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write, a new or an empty one.")
    ] = Path("exported"),
    candidate: Annotated[
        bool, typer.Option("--candidate", help="The candidate, not the champion.")
    ] = False,
    recipe: Annotated[Path, typer.Option(help=RECIPE)] = DEFAULT_RECIPE,
    base: Base = None,
) -> None:
    """Write registered adapters for another tool; of a --set also what draws them in shares."""
    if bool(name) == bool(sets):
        raise ValueError("adapter: got a name and --set, or neither; allowed is one of the two")
    if form and tool:
        raise ValueError(f"format: got {form!r} and --for {tool}, allowed is one of the two")
    loaded = load(recipe, base)
    if name:
        of_sets = {"--fairness": fairness, "--prompt": prompt, "-n": num_images, "--seed": seed}
        if given := [flag for flag, value in of_sets.items() if value not in (None, [])]:
            raise ValueError(
                f"export: got {', '.join(given)} for an adapter, allowed for --set only"
            )
        from pipelines.registry import export_registered

        form = form or "diffusers"
        typer.echo(export_registered(loaded, name, form, tool or "", candidate, out, HOME))
        return
    if form or not tool:
        raise ValueError("for: got none, allowed for --set are a1111, comfyui and forge")
    from fairgen.attributes import render
    from pipelines.registry import TargetRequest, export_target

    asked = parse_fairness(fairness or [])
    if asked == "off":
        raise ValueError("fairness: got 'off', allowed for --set are shares")
    num_images, seed = num_images or _DRAWN, seed or 0
    check_seeds(seed, num_images)
    text = prompt if prompt is not None else render(loaded.templates[0], "person")
    request = TargetRequest(tuple(sets or ()), asked, num_images, text, tool, seed, candidate)
    typer.echo(export_target(loaded, request, out, HOME))


@registry_app.command("import")
def import_adapters(
    attribute: Annotated[str, typer.Argument(help="The attribute, such as gender.")],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="CATEGORY=FILE...",
            help="A safetensors file or a PEFT folder for every category.",
        ),
    ],
    recipe: Annotated[Path, typer.Option(help=RECIPE)] = DEFAULT_RECIPE,
    base: Base = None,
) -> None:
    """Register LoRAs of another tool as candidates; `evaluate --candidates` measures them."""
    from pipelines.registry import import_set

    loaded = load(recipe, base)
    if wrong := [given for given in files if "=" not in given]:
        raise ValueError(f"files: got {wrong}, allowed is CATEGORY=FILE")
    pairs = [(name, Path(file)) for name, _, file in (given.partition("=") for given in files)]
    by_category = dict(pairs)
    if len(by_category) < len(pairs):
        raise ValueError(f"files: got {files}, allowed is one file for each category")
    for version in import_set(loaded, attribute, by_category, HOME):
        typer.echo(f"{version.name} version {version.version}: candidate")


@_moving.command("push")
def push_registry(
    to: Annotated[str, typer.Option(help="The tracking server that receives it.")],
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
) -> None:
    """Copy a recipe's runs, versions and aliases from the local registry to a shared one.

    A user and a password for it are read from MLFLOW_TRACKING_USERNAME and
    MLFLOW_TRACKING_PASSWORD.
    """
    from rich.console import Console

    from pipelines.ray_runtime import ProgressView
    from pipelines.registry import Registry, check_address, check_answers, push, tracking_server

    loaded, console = load(recipe, base), Console()
    check_address(to, "to")
    check_answers(to, "to")
    with tracking_server(HOME) as uri, ProgressView(console).open() as view:
        if uri.rstrip("/") == to.rstrip("/"):
            raise ValueError(f"to: got {to!r}, which is where it would come from: "
                             "MLFLOW_TRACKING_URI names it")  # fmt: skip
        new = push(Registry(uri, loaded), Registry(to, loaded), view.show)
    typer.echo(f"{counted(new, 'version')} {'is' if new == 1 else 'are'} new in {to}")


@registry_app.command()
def ui(
    port: Annotated[
        int, typer.Option(help="Where the page listens, on this machine only.", min=1, max=65535)
    ] = 5000,
) -> None:
    """Browse runs and registered adapters in MLflow until interrupted."""
    from pipelines.registry import local_view_pages, serve_in_foreground

    check_out(HOME, field="FAIRGEN_HOME")
    address = f"http://127.0.0.1:{port}"
    typer.echo(f"Registered adapters: {address}/#/models")
    for experiment, page in local_view_pages(HOME):
        typer.echo(f"Runs of {experiment}, with FD and hit rates: {address}/{page}")
    raise typer.Exit(serve_in_foreground(HOME, port))


def _versions_table(versions: Sequence["RegisteredVersion"]) -> "Table":
    """Return the table of registered adapters, a line each, which a narrow terminal breaks."""
    from rich.table import Table

    table = Table(title="Registered adapters", title_justify="left", box=None, pad_edge=False)
    for heading in ("adapter", "version", "aliases", "set", "FD", "hit rate", "sha256"):
        table.add_column(heading)
    for version in versions:
        tags = version.tags
        table.add_row(
            version.name,
            version.version,
            ", ".join(version.aliases),
            tags["adapter_set"],
            tags.get("fd", "unmeasured"),
            tags.get("hit_rate", "unmeasured"),
            tags["sha256"][:12],
        )
    return table
