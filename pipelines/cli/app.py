"""The `fairgen` command: one verb a stage. Heavy imports sit inside the verbs, so that `--help`
answers at once.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.experiments import experiments_app
from pipelines.cli.jobs import jobs_app, run_on_cluster
from pipelines.cli.options import (
    CALIBRATE,
    HOME,
    RECIPE,
    REPORT,
    Base,
    Cluster,
    CredentialsChain,
    CredentialsKey,
    Mark,
    OneSentence,
    RecipePath,
    check_home,
    check_seeds,
    counted,
    credential_files,
    load,
    load_here,
    parse_fairness,
    report_folder,
    settings_of,
    unused,
)
from pipelines.cli.portraits import portraits_app
from pipelines.cli.provenance import credentials_app, inspect_app
from pipelines.cli.registry import registry_app
from pipelines.cli.serve import serve_app
from pipelines.cli.speed import speed_app
from pipelines.files import check_file, write
from pipelines.ray_runtime import collect_rarely
from pipelines.recipe import DEFAULT_RECIPE

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.evaluation import Evaluation
    from pipelines.training import Outcome

app = typer.Typer(
    cls=OneSentence,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipe_app = typer.Typer(no_args_is_help=True, help="Look at recipes.")
app.add_typer(recipe_app, name="recipe")
app.add_typer(jobs_app, name="jobs")
app.add_typer(credentials_app, name="credentials")
app.add_typer(experiments_app)
app.add_typer(inspect_app)
app.add_typer(portraits_app)
app.add_typer(registry_app)
app.add_typer(serve_app)
app.add_typer(speed_app)


def _show_version(is_set: bool) -> None:
    if is_set:
        from importlib import metadata

        typer.echo(f"fairgen {metadata.version('fairgen')}")
        raise typer.Exit


@app.callback()
def fairgen(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Text-to-image diffusion in the distribution you prescribe."""
    check_home()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of what is not needed
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # one an adapter
    collect_rarely()


@app.command("train-all")
def train_all(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    quick_eval: Annotated[
        bool, typer.Option("--quick-eval/--no-eval", help="Measure before and after.")
    ] = True,
    cluster: Cluster = None,
) -> None:
    """Train the adapters of every attribute in parallel, evaluate and register them."""
    from rich.console import Console

    if cluster is not None:
        flags = () if quick_eval else ("--no-eval",)
        run_on_cluster(load(recipe, base), "train-all", cluster, flags)
        return
    from pipelines.ray_runtime import check_jobs_here

    loaded = load_here(recipe, base)
    check_jobs_here(loaded.jobs)
    from pipelines import training

    size = loaded.evaluation.quick if quick_eval else None
    report, console = report_folder(), Console()
    _show(training.train_all(loaded, size, HOME, report, console), console)


@app.command()
def evaluate(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Measure a running endpoint, asked one image a request by 8 clients; its key, if "
            "it wants one, is read from FAIRGEN_API_KEY."
        ),
    ] = None,
    candidates: Annotated[
        bool,
        typer.Option(
            "--candidates", help="Measure the registry's candidates: also those that were imported."
        ),
    ] = False,
    champions: Annotated[
        bool,
        typer.Option(
            "--champions", help="Measure the registry's champions, and register nothing of it."
        ),
    ] = False,
    cluster: Cluster = None,
) -> None:
    """Measure the trained adapters over the recipe's full prompt set; writes report/."""
    from rich.console import Console

    what = {"--endpoint": endpoint, "--candidates": candidates, "--champions": champions}
    if len(asked := [flag for flag, given in what.items() if given]) > 1:
        raise ValueError(f"evaluate: got {' and '.join(asked)}, allowed is one of them")
    if cluster is not None and endpoint is None:  # an endpoint is measured from here
        flags = {"--candidates": candidates, "--champions": champions}
        chosen = [flag for flag, on in flags.items() if on]
        run_on_cluster(load(recipe, base), "evaluate", cluster, chosen)
        return
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise ValueError(f"endpoint: got {endpoint!r}, allowed is an address with http:// or "
                         "https://")  # fmt: skip
    loaded, report, console = load_here(recipe, base), report_folder(), Console()
    if endpoint is None:
        from pipelines import training

        measure = training.evaluate_trained
        if candidates or champions:
            measure = training.evaluate_champions if champions else training.evaluate_candidates
        _show(measure(loaded, HOME, report, console), console)
        return
    from pipelines.benchmarks import audit_endpoint
    from pipelines.ray_runtime import ProgressView

    with ProgressView(console).open() as view:
        evaluation = audit_endpoint(loaded, endpoint, loaded.evaluation.full, report, view.show)
    _show_evaluation(evaluation, console)


@app.command()
def fit(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The recipe whose champions are fitted; without it the recipe's own are, and "
            "nothing is registered.",
        ),
    ] = None,
) -> None:
    """Fit champions in strength to a fine-tune of their base model, by its own predictions, and
    measure them there; registers them where RECIPE has a registry prefix of its own.
    """
    from rich.console import Console

    loaded, report, console = load_here(recipe, base), report_folder(), Console()
    from pipelines import training

    champions_of = load(source or recipe)
    _show(training.fit_champions(loaded, champions_of, HOME, report, console), console)


@app.command()
def gate(
    recipe: RecipePath = DEFAULT_RECIPE,
    classes: Annotated[bool, typer.Option(help="Every class of prompts by itself.")] = False,
    mistakes: Annotated[bool, typer.Option(help="The prompts that the gate gets wrong.")] = False,
) -> None:
    """Measure the prompt gate on the labelled prompts and prompt sets that ship."""
    from rich.console import Console

    from fairgen.judging import gate_report, language_report
    from pipelines.evaluation import gate_table

    loaded = load(recipe)
    found = (*gate_report(loaded.attributes), *language_report(loaded.attributes))
    Console().print(gate_table(found, classes))
    for suite in found if mistakes else ():
        for mistake in suite.total.mistakes:
            acted, left = (", ".join(n) or "-" for n in (mistake.activated, mistake.skipped))
            typer.echo(f"{suite.suite}: {mistake.prompt!r} acted on {acted}, left alone {left}")


@app.command()
def judge(
    labelled: Annotated[
        Path,
        typer.Argument(
            help="A folder with a folder for each attribute, and in it one for each category, with "
            "pictures that people have labelled."
        ),
    ],
    recipe: Annotated[Path, typer.Option(help=RECIPE)] = DEFAULT_RECIPE,
    second: Annotated[bool, typer.Option("--second", help="Measure the second judge.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", help="The JSON file to write.")] = REPORT
    / "judge_confusion.json",
) -> None:
    """Measure how often the recipe's judge errs, on pictures that people have labelled; write it
    down for `judge: {confusion: FILE}`.
    """
    from rich.console import Console

    check_file("out", out)
    loaded = load(recipe)
    from fairgen.judging import measure_confusion
    from pipelines.evaluation import judge_table
    from pipelines.recipe import load_judge, load_second_judge

    found_judge = load_second_judge(loaded) if second else load_judge(loaded)
    if found_judge is None:
        raise ValueError("second: the recipe has no second judge")
    confusion = measure_confusion(found_judge, loaded.attributes, labelled)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, confusion.model_dump_json(indent=1) + "\n")
    Console().print(judge_table(confusion))
    typer.echo(f"Name it in the recipe, judge: {{confusion: {out}}}; figures are corrected then.")


@app.command()
def bench(
    recipe: RecipePath = DEFAULT_RECIPE,
    base: Base = None,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")] = REPORT / "bench.json",
    full_size: Annotated[
        bool, typer.Option(help="Also on a UNet of Stable Diffusion 1.5's size, minutes on a CPU.")
    ] = True,
    against: Annotated[
        str | None,
        typer.Option(help="Race an older commit of this clone instead; needs no champions."),
    ] = None,
    whole: Annotated[
        bool, typer.Option(help="With --against: race a whole train-all, too, half an hour.")
    ] = False,
) -> None:
    """Measure what gating and serving cost, as ratios in one run; needs champions."""
    from rich.console import Console

    from pipelines import benchmarks

    check_file("out", out)
    if against is not None:
        raced = benchmarks.race(against, benchmarks.RaceSize(whole=whole))
        benchmarks.write_race(raced, out)
        Console().print(benchmarks.race_table(raced))
        typer.echo(f"Every figure: {out}, under `against`")
        return
    loaded = load_here(recipe, base)
    size = benchmarks.BenchmarkSize(full_size=full_size)
    figures = benchmarks.bench(loaded, settings_of(recipe, base), HOME, out, size)
    Console().print(benchmarks.benchmark_table(figures))
    typer.echo(f"Every figure: {out}")


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to paint.")],
    recipe: Annotated[Path, typer.Option(help=RECIPE)] = DEFAULT_RECIPE,
    num_images: Annotated[int, typer.Option("-n", "--num-images", min=1)] = 8,
    fairness: Annotated[
        list[str] | None,
        typer.Option(help="off, ATTRIBUTE=uniform or ATTRIBUTE=CATEGORY:SHARE,...; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The first picture's seed.", min=0)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The folder to write, new or empty; by default out, out-2 and so on.",
        ),
    ] = None,
    calibrate: Annotated[bool, typer.Option(help=CALIBRATE)] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with status 3 where fairness was not applied.")
    ] = False,
    credentials: CredentialsChain = None,
    credentials_key: CredentialsKey = None,
    mark: Mark = False,
    base: Base = None,
) -> None:
    """Paint with the registry's champions into a folder, without a server."""
    from rich.console import Console

    from fairgen.indicator import TargetDistribution
    from pipelines.serve import ImageRequest

    asked = parse_fairness(fairness or [])
    check_seeds(seed, num_images)
    request = ImageRequest(prompt=prompt, n=num_images, seed=seed, fairness=asked)
    signing = credential_files(credentials, credentials_key)
    loaded, console = load_here(recipe, base), Console()
    out = unused("out") if out is None else out
    if isinstance(asked, dict):
        TargetDistribution.from_request(asked, loaded.attributes)
    from pipelines import generate as painting

    generated = painting.generate(loaded, request, HOME, out, console, calibrate, signing, mark)
    for attribute, counts in painting.tally(generated.records).items():
        shares = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        console.print(f"{attribute}: {shares}")
    pictures = counted(len(generated.records), "picture")
    console.print(f"{pictures}, records.json and grid.png: {out}")
    if num_flagged := sum(r.safety_checker == "flagged" for r in generated.records):
        typer.secho(f"{num_flagged} pictures are black: the base model's safety checker flagged "
                    "them", fg="red", err=True)  # fmt: skip
    for attribute, reason in generated.not_applied.items():
        typer.secho(f"{attribute} was not balanced: {reason}", fg="red", err=True)
    if strict and generated.not_applied:
        raise typer.Exit(3)


@recipe_app.command("check")
def recipe_check(recipe: RecipePath = DEFAULT_RECIPE, base: Base = None) -> None:
    """Load a recipe and say what it would train, or what is wrong with it."""
    from pipelines.recipe import check_models

    loaded = load(recipe, base)
    check_models(loaded, ask_hub=False)
    for attribute in loaded.attributes:
        typer.echo(f"{attribute.name}: {', '.join(attribute.names)}")
    typer.echo(f"{loaded.name} on {loaded.base_path}, recipe hash {loaded.recipe_hash}")


def _show(outcome: "Outcome", console: "Console") -> None:
    """Print the tables, what was registered, and where to look."""
    if outcome.evaluation is not None:
        _show_evaluation(outcome.evaluation, console)
    for version in outcome.registered:
        alias = "champion" if version.champion else "candidate"
        console.print(f"{version.name} version {version.version}: {alias}")
    if outcome.registered:
        console.print("Browse runs and registered adapters: make ui")


def _show_evaluation(evaluation: "Evaluation", console: "Console") -> None:
    """Print the tables, and where the pictures are."""
    from pipelines.evaluation import evaluation_table, hit_rate_table, judges_table

    console.print(evaluation_table(evaluation), hit_rate_table(evaluation))
    if evaluation.agreement:
        console.print(judges_table(evaluation))
    console.print(f"Same seeds, indicator off and on: {REPORT / 'grid.png'}")
    console.print(f"Every figure: {REPORT / 'evaluation.json'}")
