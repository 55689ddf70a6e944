"""How MLflow's page shows a recipe's runs: the figures that tell adapters apart as columns.

MLflow keeps a shared view in a tag of the experiment, and opens it by a key in the address.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipelines.registry.server import every

_KEY = "fairgen"
_TAG = f"mlflow.sharedViewState.{_KEY}"
_COLUMNS = ("metrics.`fd`", "metrics.`hit_rate`")


def share_view(client: MlflowClient, experiment_id: str) -> None:
    """Keep the view with an experiment, whoever else does so at the same moment."""
    try:
        client.set_experiment_tag(experiment_id, _TAG, json.dumps({"selectedColumns": _COLUMNS}))
    except MlflowException:  # a database takes one of two first insertions
        if _TAG not in client.get_experiment(experiment_id).tags:
            raise


def view_pages(client: MlflowClient) -> Iterator[tuple[str, str]]:
    """Yield the name of each experiment that has the view, and its page below the server's
    address.
    """
    for experiment in every(client.search_experiments):
        if _TAG in experiment.tags:
            page = f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={_KEY}"
            yield experiment.name, page


def local_view_pages(store: Path) -> list[tuple[str, str]]:
    """Return the same of the registry that lies in a folder; nothing where there is none yet."""
    database = store.resolve() / "mlflow.db"
    return list(view_pages(MlflowClient(f"sqlite:///{database}"))) if database.exists() else []
