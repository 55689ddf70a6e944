"""`python -m pipelines.cli` is the `fairgen` command."""

from pipelines.cli.app import app

app()
