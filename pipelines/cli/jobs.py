"""The verbs that look after jobs of a cluster: list, attach, stop."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.options import Cluster

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from pipelines.ray_runtime import Verb
    from pipelines.recipe import Recipe

jobs_app = typer.Typer(help="Look after the jobs of a cluster.", invoke_without_command=True)
JobId = Annotated[str, typer.Argument(metavar="JOB", help="As `fairgen jobs` shows it.")]


@jobs_app.callback()
def list_jobs(
    context: typer.Context,
    cluster: Cluster = None,
) -> None:
    """Show the jobs of a cluster, the oldest first."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    from pipelines.ray_runtime import describe_jobs

    table = Table("job", "recipe", "status", "started", "seconds")
    for row in describe_jobs(_connected(cluster)):
        table.add_row(*row)
    Console().print(table)


@jobs_app.command()
def attach(job: JobId, cluster: Cluster = None) -> None:
    """Follow a job's output from its beginning to its end."""
    follow_to_the_end(_connected(cluster), job)


@jobs_app.command()
def stop(job: JobId, cluster: Cluster = None) -> None:
    """Stop a job; what it has finished stays, and the same recipe goes on from there."""
    from pipelines.ray_runtime import check_known

    client = _connected(cluster)
    check_known(client, job)
    client.stop_job(job)
    typer.echo(f"{job} is told to stop")


def run_on_cluster(recipe: "Recipe", verb: "Verb", cluster: str, flags: Sequence[str] = ()) -> None:
    """Submit a workflow, or join the same one that runs already, and follow it to its end."""
    from pipelines.ray_runtime import submit

    client = _connected(cluster)
    job, new = submit(client, recipe, verb, flags)
    typer.echo(f"{job} {'submitted' if new else 'is running already: following it'}")
    follow_to_the_end(client, job)


def follow_to_the_end(client: "JobSubmissionClient", job: str) -> None:
    """Show a job's output; end the command as the job ends. An interrupt leaves the job alone."""
    from pipelines.ray_runtime import follow

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        status = follow(client, job, write)
    except KeyboardInterrupt:
        again = f"fairgen jobs attach {job} --cluster {client.get_address()}"
        typer.echo(f"\n{job} goes on. Follow it: {again}")
        raise typer.Exit(130) from None
    typer.echo(f"{job}: {status}")
    if status != "SUCCEEDED":
        raise typer.Exit(1)


def _connected(cluster: str | None) -> "JobSubmissionClient":
    from pipelines.ray_runtime import connect

    if cluster is None:
        raise ValueError("cluster: got none, allowed is an address such as http://head:8265")
    return connect(cluster)
