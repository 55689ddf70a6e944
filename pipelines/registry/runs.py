"""A recipe's experiment: its parent run, a child run an attribute, curves and what was measured."""

import logging
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Self

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.utils.async_logging.run_operations import RunOperations

from fairgen.attributes import Attribute
from pipelines.recipe import Recipe
from pipelines.registry.promotion import register_adapter_set
from pipelines.registry.run_view import share_view
from pipelines.registry.server import GRID, SMALL_GRID, create_run, current, retry_for_minutes
from pipelines.registry.trained import TrainedAttribute
from pipelines.registry.versions import RegisteredAdapter, Registry

if TYPE_CHECKING:
    from pipelines.evaluation import Evaluation

_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "ray", "mlflow")
log = logging.getLogger(__name__)


class Curves:
    """The curves of a run, written in the background: a registry that is slow or away holds up no
    training.
    """

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        retry_for_minutes()
        self._client, self._run_id = MlflowClient(tracking_uri), run_id
        self._sent: list[RunOperations] = []

    def add(self, metrics: dict[str, float]) -> None:
        """Append one point to every curve, at the step that the metrics name."""
        now_ms = int(time.time() * 1000)
        points = [
            Metric(name, value, now_ms, int(metrics["step"]))
            for name, value in metrics.items()
            if name != "step"
        ]
        self._sent.append(self._client.log_batch(self._run_id, metrics=points, synchronous=False))

    def close(self) -> None:
        """Wait until the registry has every point, or for those that it would not take."""
        lost = 0
        for points in self._sent:
            try:
                points.wait()
            except MlflowException as error:  # the adapters are there: a gap ends no training
                log.warning("points of run %s are lost: %s", self._run_id, error)
                lost += 1
        if lost:
            log.warning("%d of %d points are missing in the curves", lost, len(self._sent))


class TrainingRuns:
    """The runs of a recipe's training: its parent run, open for the length of a `with`, and a child
    run an attribute.

    What a recipe hash has begun is gone on with: its runs are found again by their tags, and so are
    its registered versions, so that a run started again adds nothing.
    """

    def __init__(self, tracking_uri: str, recipe: Recipe) -> None:
        self.registry = Registry(tracking_uri, recipe)
        self.tracking_uri, self.client = tracking_uri, self.registry.client
        self._recipe = recipe
        self._run_id = ""

    def __enter__(self) -> Self:
        """Open the recipe's parent run, with the recipe and the environment as artifacts."""
        recipe = self._recipe
        self._current = current(self.tracking_uri)
        self._current.__enter__()
        self._run_id = self._find_or_create_run(recipe.name, {"fairgen.kind": "train-all"})
        self.client.update_run(self._run_id, status="RUNNING")
        share_view(self.client, self.registry.experiment_id)
        self.client.log_dict(self._run_id, recipe.model_dump(mode="json"), "recipe.yaml")
        environment = {package: version(package) for package in _PACKAGES}
        environment |= {"python": platform.python_version(), "machine": platform.platform()}
        self.client.log_dict(self._run_id, environment, "environment.json")
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        try:
            self.client.set_terminated(self._run_id, "FAILED" if error_type else "FINISHED")
        finally:
            self._current.__exit__(None, None, None)

    def open_job(self, attribute: str) -> str:
        """Return the id of the child run that receives an attribute's curves, now running."""
        run_id = self.job_run(attribute)
        self.client.update_run(run_id, status="RUNNING")
        base = self._recipe.base  # a folder may move
        try:
            self.client.set_tag(run_id, "fairgen.base", base)
        except MlflowException:  # another process has set it at the same moment
            if self.client.get_run(run_id).data.tags.get("fairgen.base") != base:
                raise
        settings = {"attribute": attribute}
        settings |= self._recipe.discovery_of(attribute).model_dump(mode="json")
        params = {name: str(value) for name, value in settings.items()}
        try:
            self.client.log_batch(run_id, params=[Param(*item) for item in params.items()])
        except MlflowException:  # another process has logged them at the same moment
            if self.client.get_run(run_id).data.params != params:
                raise
        return run_id

    def close_job(self, attribute: str, finished: bool) -> None:
        """End an attribute's child run as finished or failed."""
        self.client.set_terminated(self.job_run(attribute), "FINISHED" if finished else "FAILED")

    def register_adapter_set(
        self, attribute: Attribute, trained: TrainedAttribute, evaluation: "Evaluation | None"
    ) -> list[RegisteredAdapter]:
        """Register an attribute's adapters under its child run, which ends with that where no job
        has ended it; see `promotion`.
        """
        run_id = self.job_run(attribute.name)
        registered = register_adapter_set(self.registry, run_id, attribute, trained, evaluation)
        if self.client.get_run(run_id).info.status == "RUNNING":
            self.client.set_terminated(run_id)
        return registered

    def log_evaluation(self, evaluation: "Evaluation", report: Path) -> None:
        """Log fairness, hit rates and preservation as metrics, the report as artifacts. An
        attribute's run gets its own FD and lowest hit rate, the recipe's the worst of all.
        """
        values = {
            f"{target} {system} fd".replace(" x ", "-"): found.fd
            for target, systems in evaluation.fairness.items()
            for system, found in systems.items()
        }
        values |= {
            f"{target} {system} abstained".replace(" x ", "-"): found.abstained.share.value
            for target, systems in evaluation.fairness.items()
            for system, found in systems.items()
            if found.abstained
        }
        for attribute_name, rows in evaluation.hit_rates["all"].items():
            values |= {f"{attribute_name} {name} hit_rate": row[name] for name, row in rows.items()}
        for system, kept in evaluation.preservation.items():
            values |= {f"{system} {name}": value for name, value in kept.figures().items()}
        own = {
            attribute.name: _own_figures(evaluation, attribute)
            for attribute in self._recipe.attributes
            if attribute.name in evaluation.fairness
        }
        values |= {
            "fd": max(figures["fd"] for figures in own.values()),
            "base_fd": max(figures["base_fd"] for figures in own.values()),
        }
        if all("hit_rate" in figures for figures in own.values()):
            values["hit_rate"] = min(figures["hit_rate"] for figures in own.values())
        self._log_metrics(self._run_id, values)
        self.client.log_artifacts(self._run_id, str(report), "report")
        for name, figures in own.items():
            self._log_metrics(self.job_run(name), figures)
            for picture in (GRID, SMALL_GRID):
                if (report / picture).exists():
                    self.client.log_artifact(self.job_run(name), str(report / picture))

    def _log_metrics(self, run_id: str, values: dict[str, float]) -> None:
        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(name.replace(" ", "/"), value, now_ms, 0) for name, value in values.items()
        ]
        self.client.log_batch(run_id, metrics=metrics)

    def job_run(self, attribute: str) -> str:
        """Return the id of an attribute's child run. Raises RuntimeError outside a `with`."""
        if not self._run_id:
            raise RuntimeError("the recipe's run is not open: use `with TrainingRuns(...)`")
        tags = {
            "fairgen.kind": "train",
            "fairgen.attribute": attribute,
            "mlflow.parentRunId": self._run_id,
        }
        return self._find_or_create_run(f"{self._recipe.name}-{attribute}", tags)

    def _find_or_create_run(self, name: str, tags: dict[str, str]) -> str:
        tags = {
            **tags,
            "fairgen.recipe_hash": self._recipe.recipe_hash,
            "fairgen.recipe": self._recipe.name,
        }
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        found = self.client.search_runs([self.registry.experiment_id], query, max_results=1)
        if found:
            return str(found[0].info.run_id)
        return create_run(self.client, self.registry.experiment_id, name, tags)


def _own_figures(evaluation: "Evaluation", attribute: Attribute) -> dict[str, float]:
    """Return what an attribute's run shows as columns: FD before and after, the lowest hit rate
    where every category has one, and where the judge may abstain how often it did.
    """
    fairness = evaluation.fairness[attribute.name]
    lowest = evaluation.lowest_hit_rate(attribute)
    abstained = fairness["fairgen"].abstained
    return {
        "fd": fairness["fairgen"].fd,
        "base_fd": fairness["base"].fd,
        **({} if lowest is None else {"hit_rate": lowest}),
        **({"abstained": abstained.share.value} if abstained else {}),
    }
