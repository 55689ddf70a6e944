"""MLflow: runs with their curves, and adapters as registered models. The only module that imports
mlflow.
"""

import hashlib
import json
import logging
import os
import platform
import time
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import mlflow.artifacts
import mlflow.diffusers
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from fairgen.adapters import Adapter, load_adapter
from fairgen.attributes import Attribute
from pipelines.recipe import Recipe
from pipelines.version_tags import measured_tags, meets_thresholds, tags_of

if TYPE_CHECKING:
    from pipelines.evaluation import Evaluation
    from pipelines.training_run import TrainedAttribute

_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "ray", "mlflow")
_GRID = "grid.png"
CANDIDATE, CHAMPION = "candidate", "champion"


@dataclass(frozen=True)
class RegisteredAdapter:
    """One version of one registered model, and whether it is the champion."""

    name: str
    version: str
    champion: bool


@dataclass(frozen=True)
class RegisteredVersion:
    """One version with its aliases and tags."""

    name: str
    version: str
    aliases: tuple[str, ...]
    tags: dict[str, str]


@dataclass(frozen=True)
class Champion:
    """The version of one registered model that is served, and what its tags say of it.

    `confusion` is what the judge saw where this category was asked: category -> share; None where
    the version has not been measured.
    """

    name: str
    version: str
    adapter_set: str
    sha256: str
    confusion: dict[str, float] | None = field(hash=False)


@dataclass(frozen=True)
class ChampionSet:
    """The champions of all categories of an attribute, trained together."""

    adapter_set: str
    members: dict[str, Champion]


def log_curve(tracking_uri: str, run_id: str, metrics: dict[str, float]) -> None:
    """Append one point to every curve of a run, at the step that the metrics name."""
    now_ms = int(time.time() * 1000)
    points = [
        Metric(name, value, now_ms, int(metrics["step"]))
        for name, value in metrics.items()
        if name != "step"
    ]
    MlflowClient(tracking_uri).log_batch(run_id, metrics=points)


class Registry:
    """A recipe's experiment on one tracking server.

    What a recipe hash has begun is gone on with: its parent run, its child runs and its registered
    versions are found again by their tags, so that a run started again adds nothing that is already
    there.
    """

    def __init__(self, tracking_uri: str, recipe: Recipe) -> None:
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self.tracking_uri = tracking_uri
        self._recipe = recipe
        self._client = MlflowClient(tracking_uri)

    @cached_property
    def _experiment_id(self) -> str:
        name = self._recipe.registry.experiment
        if found := self._client.get_experiment_by_name(name):
            return found.experiment_id
        try:
            return self._client.create_experiment(name)
        except MlflowException:  # another process created it in between
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def __enter__(self) -> "Registry":
        """Open the recipe's parent run, with the recipe and the environment as artifacts."""
        recipe = self._recipe
        self._uri_before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(self.tracking_uri)
        self._run_id = self._find_or_create_run(recipe.name, {"fairgen.kind": "train-all"})
        self._client.update_run(self._run_id, status="RUNNING")
        self._client.log_dict(self._run_id, recipe.model_dump(mode="json"), "recipe.yaml")
        environment = {package: version(package) for package in _PACKAGES}
        environment |= {"python": platform.python_version(), "machine": platform.platform()}
        self._client.log_dict(self._run_id, environment, "environment.json")
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self._client.set_terminated(self._run_id, "FAILED" if error_type else "FINISHED")
        mlflow.set_tracking_uri(self._uri_before)  # mlflow keeps it in the environment, too

    def open_job(self, attribute: str) -> str:
        """Return the id of the child run that receives an attribute's curves, now running."""
        run_id = self._job_run(attribute)
        self._client.update_run(run_id, status="RUNNING")
        settings = {"attribute": attribute, "base": self._recipe.base}
        settings |= self._recipe.discovery_of(attribute).model_dump(mode="json")
        self._client.log_batch(
            run_id, params=[Param(name, str(value)) for name, value in settings.items()]
        )
        return run_id

    def close_job(self, attribute: str, finished: bool) -> None:
        """End an attribute's child run as finished or failed."""
        self._client.set_terminated(self._job_run(attribute), "FINISHED" if finished else "FAILED")

    def log_evaluation(self, evaluation: "Evaluation", report: Path) -> None:
        """Log fairness, hit rates and preservation as metrics, the report as artifacts."""
        values = {
            f"{target} {system} fd".replace(" x ", "-"): found.fd
            for target, systems in evaluation.fairness.items()
            for system, found in systems.items()
        }
        for attribute_name, rows in evaluation.hit_rates["all"].items():
            values |= {f"{attribute_name} {name} hit_rate": row[name] for name, row in rows.items()}
        for system, kept in evaluation.preservation.items():
            values |= {f"{system} {name}": value for name, value in kept.figures().items()}
        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(name.replace(" ", "/"), value, now_ms, 0) for name, value in values.items()
        ]
        self._client.log_batch(self._run_id, metrics=metrics)
        self._client.log_artifacts(self._run_id, str(report), "report")
        for attribute in self._recipe.attributes:
            self._client.log_artifact(self._job_run(attribute.name), str(report / _GRID))

    def register_adapter_set(
        self, attribute: Attribute, trained: "TrainedAttribute", evaluation: "Evaluation | None"
    ) -> list[RegisteredAdapter]:
        """Register one version per category under a shared `adapter_set` tag and point the aliases
        at them.

        Every version becomes `candidate`. An evaluation that reaches the recipe's thresholds makes
        the set `champion`; one that does not takes the alias from these versions.
        """
        adapters = [load_adapter(folder) for folder in trained.folders]
        adapter_set = hashlib.sha256(
            "".join(f"{adapter.name} {adapter.sha256}" for adapter in adapters).encode()
        ).hexdigest()[:16]
        cost = {
            "training_seconds": f"{trained.training_seconds}",
            "denoiser_rows": f"{trained.denoiser_rows}",
        }
        registered = []
        for adapter, folder in zip(adapters, trained.folders, strict=True):
            name = self._recipe.registered_name(attribute.name, adapter.metadata.category)
            number = self._find_version(name, adapter.sha256) or self._log_version(
                name, adapter, folder
            )
            tags = {
                "adapter_set": adapter_set,
                **tags_of(adapter),
                **cost,
                **measured_tags(adapter, evaluation),
            }
            for key, value in tags.items():
                self._client.set_model_version_tag(name, number, key, value)
            self._client.set_registered_model_alias(name, CANDIDATE, number)
            if evaluation is not None:
                self._promote(name, number, meets_thresholds(self._recipe, attribute, evaluation))
            registered.append(
                RegisteredAdapter(name, number, self._number(name, CHAMPION) == number)
            )
        return registered

    def champions(self) -> dict[str, ChampionSet]:
        """Return attribute -> its champions; only complete sets that were trained together."""
        return self._complete_sets(CHAMPION)

    def candidates(self) -> dict[str, ChampionSet]:
        """Return attribute -> its candidates, in the same way."""
        return self._complete_sets(CANDIDATE)

    def _complete_sets(self, alias: str) -> dict[str, ChampionSet]:
        found: dict[str, ChampionSet] = {}
        for attribute in self._recipe.attributes:
            members = {
                category: self._version_of(attribute.name, category, alias)
                for category in attribute.names
            }
            complete = {c: member for c, member in members.items() if member is not None}
            sets = {member.adapter_set for member in complete.values()}
            if len(complete) == len(members) and len(sets) == 1:
                found[attribute.name] = ChampionSet(sets.pop(), complete)
        return found

    def versions(self) -> list[RegisteredVersion]:
        """Return every version of every adapter of the recipe, by name, newest first."""
        found = []
        for attribute in self._recipe.attributes:
            for category in attribute.names:
                name = self._recipe.registered_name(attribute.name, category)
                models = self._client.search_registered_models(f"name = '{name}'")
                aliases = models[0].aliases if models else {}
                for stored in self._client.search_model_versions(f"name = '{name}'"):
                    held = tuple(sorted(a for a, n in aliases.items() if n == stored.version))
                    found.append(
                        RegisteredVersion(name, str(stored.version), held, dict(stored.tags))
                    )
        return found

    def promote(
        self, attribute: str, adapter_set: str | None, force: bool
    ) -> list[RegisteredAdapter]:
        """Make a set champion, the candidates' when None; return its versions.

        Raises ValueError for an unknown attribute, a set that is not complete, or one that was not
        measured to reach the recipe's thresholds, unless forced.
        """
        names = [
            self._recipe.registered_name(attribute, category)
            for category in self._recipe.attribute(attribute).names
        ]
        versions = [found for found in self.versions() if found.name in names]
        if adapter_set is None:
            candidates = {v.tags["adapter_set"] for v in versions if CANDIDATE in v.aliases}
            if len(candidates) != 1:
                raise ValueError(f"{attribute}: got candidates of sets {sorted(candidates)}, "
                                 "allowed is one; name the set")  # fmt: skip
            adapter_set = candidates.pop()
        chosen = {v.name: v for v in versions if v.tags["adapter_set"] == adapter_set}
        if missing := sorted(set(names) - chosen.keys()):
            known = sorted({v.tags["adapter_set"] for v in versions})
            raise ValueError(
                f"adapter_set: got {adapter_set!r}, which lacks {missing}; registered are {known}"
            )
        threshold = self._recipe.thresholds[attribute]
        for found in chosen.values():
            fd, hit_rate = (found.tags.get(key, "unmeasured") for key in ("fd", "hit_rate"))
            good = fd != "unmeasured" and (
                float(fd) <= threshold.max_fd and float(hit_rate) >= threshold.min_hit_rate
            )
            if not (good or force):
                raise ValueError(
                    f"{found.name} version {found.version}: got fd {fd} and hit rate "
                    f"{hit_rate}, allowed are at most {threshold.max_fd} and at least "
                    f"{threshold.min_hit_rate}"
                )
        for name in names:
            self._client.set_registered_model_alias(name, CHAMPION, chosen[name].version)
        return [RegisteredAdapter(name, chosen[name].version, True) for name in names]

    def download(self, champion: "Champion", into: Path) -> Path:
        """Return the folder of one version's adapter, downloaded below `into`."""
        target = into / champion.name / champion.version
        target.mkdir(parents=True, exist_ok=True)
        stored = self._client.get_model_version_download_uri(champion.name, champion.version)
        model = Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=stored, dst_path=str(target), tracking_uri=self.tracking_uri
            )
        )
        return model / Model.load(str(model)).flavors["diffusers"]["adapter_weights"]

    def tags_of(self, version: "Champion") -> dict[str, str]:
        """Return all that a version says of itself."""
        return dict(self._client.get_model_version(version.name, version.version).tags)

    def download_grid(self, version: "Champion", into: Path) -> Path | None:
        """Return the same-seed pictures of a version's training, below `into`, if there are any."""
        run_id = self._client.get_model_version(version.name, version.version).run_id
        if not run_id or _GRID not in {a.path for a in self._client.list_artifacts(run_id)}:
            return None
        return Path(self._client.download_artifacts(run_id, _GRID, str(into)))

    def _version_of(self, attribute: str, category: str, alias: str) -> "Champion | None":
        name = self._recipe.registered_name(attribute, category)
        if (number := self._number(name, alias)) is None:
            return None
        tags = self._client.get_model_version(name, number).tags
        confusion = json.loads(tags["confusion"]) if "confusion" in tags else None
        return Champion(name, number, tags["adapter_set"], tags["sha256"], confusion)

    def _promote(self, name: str, number: str, worthy: bool) -> None:
        if worthy:
            self._client.set_registered_model_alias(name, CHAMPION, number)
        elif self._number(name, CHAMPION) == number:
            self._client.delete_registered_model_alias(name, CHAMPION)

    def _number(self, name: str, alias: str) -> str | None:
        """Return the version that an alias names, if the model exists and has it."""
        found = self._client.search_registered_models(f"name = '{name}'")
        number = found[0].aliases.get(alias) if found else None
        return str(number) if number else None

    def _job_run(self, attribute: str) -> str:
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
        found = self._client.search_runs([self._experiment_id], query, max_results=1)
        run = (
            found[0]
            if found
            else self._client.create_run(self._experiment_id, run_name=name, tags=tags)
        )
        return str(run.info.run_id)

    def _find_version(self, name: str, sha256: str) -> str | None:
        versions = self._client.search_model_versions(f"name = '{name}'")
        return next(
            (str(found.version) for found in versions if found.tags.get("sha256") == sha256), None
        )

    def _log_version(self, name: str, adapter: Adapter, folder: Path) -> str:
        info = mlflow.diffusers.log_model(
            str(folder),
            self._recipe.base_path,
            name=adapter.name,
            registered_model_name=name,
            run_id=self._job_run(adapter.metadata.attribute),
            pip_requirements=[
                f"{package}=={version(package)}" for package in ("torch", "diffusers", "peft")
            ],
        )
        return str(info.registered_model_version)
