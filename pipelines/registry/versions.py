"""Adapters as registered models: versions, complete sets, aliases."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path

import mlflow
import mlflow.artifacts
import mlflow.diffusers
from mlflow import MlflowClient
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from fairgen.adapters import Adapter
from pipelines.recipe import Recipe
from pipelines.registry.server import GRID, check_artifacts, connect, current, every
from pipelines.registry.version_tags import measured_confusion

CANDIDATE, CHAMPION = "candidate", "champion"
_OURS = {"adapter_set", "sha256", "attribute", "category"}  # tags that every version of ours has
log = logging.getLogger(__name__)


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


class Registry:
    """A recipe's registered adapters on one tracking server. Any thread may use one of its own."""

    def __init__(self, tracking_uri: str, recipe: Recipe) -> None:
        self.tracking_uri, self.recipe = tracking_uri, recipe
        self.client = connect(tracking_uri)

    @cached_property
    def experiment_id(self) -> str:
        """The recipe's experiment: made where there is none, restored where somebody deleted it.

        Raises ValueError where its files cannot be kept from here.
        """
        experiment = _experiment(self.client, self.recipe.registry.experiment)
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            log.warning("experiment %s was deleted, and is restored", experiment.name)
            self.client.restore_experiment(experiment.experiment_id)
        check_artifacts(self.tracking_uri, experiment.artifact_location)
        return experiment.experiment_id

    def champions(self) -> dict[str, ChampionSet]:
        """Return attribute -> its champions; only complete sets that were trained together.

        Where aliases are mixed, since a promotion moves them or was cut, or one is on a version
        that is not ours, they are those of the set that the last promotion said it wanted.
        """
        return self._complete_sets(CHAMPION)

    def candidates(self) -> dict[str, ChampionSet]:
        """Return attribute -> its candidates, in the same way."""
        return self._complete_sets(CANDIDATE)

    def _complete_sets(self, alias: str) -> dict[str, ChampionSet]:
        found: dict[str, ChampionSet] = {}
        for attribute in self.recipe.attributes:
            names = [self.recipe.registered_name(attribute.name, c) for c in attribute.names]
            numbers = [self.aliased(name, alias) for name in names]
            members = [self._member(*pair) for pair in zip(names, numbers, strict=True)]
            sets = {member.adapter_set for member in members if member}
            foreign = None not in numbers and None in members
            if (len(sets) > 1 or foreign) and (wanted := self._wish(names[0], alias)):
                members = [self._member(name, self.find_version(name, wanted)) for name in names]
                sets = {wanted}
            whole = {c: m for c, m in zip(attribute.names, members, strict=True) if m}
            if len(whole) == len(names) and len(sets) == 1:
                found[attribute.name] = ChampionSet(sets.pop(), whole)
        return found

    def versions(self) -> list[RegisteredVersion]:
        """Return every version of every adapter of the recipe, by name, newest first."""
        found = []
        for attribute in self.recipe.attributes:
            for category in attribute.names:
                name = self.recipe.registered_name(attribute.name, category)
                models = self.client.search_registered_models(f"name = '{name}'")
                aliases = models[0].aliases if models else {}
                for stored in every(self.client.search_model_versions, f"name = '{name}'"):
                    if not _is_ours(name, stored.version, stored.tags):
                        continue
                    held = tuple(sorted(a for a, n in aliases.items() if n == stored.version))
                    found.append(
                        RegisteredVersion(name, str(stored.version), held, dict(stored.tags))
                    )
        return found

    def download(self, found: "Champion | RegisteredVersion", into: Path) -> Path:
        """Return the folder of one version's adapter, downloaded below `into`. Raises ValueError
        where the store has its files no more.
        """
        target = into / found.name / found.version
        target.mkdir(parents=True, exist_ok=True)
        stored = self.client.get_model_version_download_uri(found.name, found.version)
        gone = (
            f"{found.name} version {found.version}: its files are gone from the registry's store; "
            "allowed is a version whose artifacts nobody has collected"
        )
        try:
            model = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=stored, dst_path=str(target), tracking_uri=self.tracking_uri
                )
            )
        except MlflowException as error:
            if ErrorCode.Name(RESOURCE_DOES_NOT_EXIST) in str(error):
                raise ValueError(gone) from error
            raise
        if not (model / MLMODEL_FILE_NAME).is_file():
            raise ValueError(gone)
        return model / Model.load(str(model)).flavors["diffusers"]["adapter_weights"]

    def version_tags(self, version: "Champion") -> dict[str, str]:
        """Return all that a version says of itself."""
        return dict(self.client.get_model_version(version.name, version.version).tags)

    def download_grid(self, version: "Champion", into: Path) -> Path | None:
        """Return the same-seed pictures of a version's training, below `into`, if there are any:
        its run may be deleted.
        """
        run_id = self.client.get_model_version(version.name, version.version).run_id
        try:
            if run_id and GRID in {a.path for a in self.client.list_artifacts(run_id)}:
                return Path(self.client.download_artifacts(run_id, GRID, str(into)))
        except MlflowException as error:
            log.warning("the pictures of run %s are gone: %s", run_id, error)
        return None

    def _wish(self, first_name: str, alias: str) -> str | None:
        """Return the set that an alias was last to be moved to; `first_name` is the model that
        `point` tells.
        """
        return self.client.get_registered_model(first_name).tags.get(f"{alias}_set")

    def _member(self, name: str, number: str | None) -> Champion | None:
        """Return a version of a model as a champion, where there is one."""
        if number is None:
            return None
        tags = self.client.get_model_version(name, number).tags
        if not _is_ours(name, number, tags):
            return None
        return Champion(name, number, tags["adapter_set"], tags["sha256"], measured_confusion(tags))

    def point(self, alias: str, names: Sequence[str], adapter_set: str) -> None:
        """Point an alias of all of an attribute's models at the versions of one set.

        An alias moves model by model, so that two who move it at once could leave it mixed. Each
        says first, in one tag, which set it wants, and goes on until the aliases are those of the
        set that the tag names then: the last to say so wins, whoever ends last.
        """
        _twice(self.client.set_registered_model_tag, names[0], f"{alias}_set", adapter_set)
        while True:
            for name in names:
                if (number := self.find_version(name, adapter_set)) is not None:
                    _twice(self.client.set_registered_model_alias, name, alias, number)
            if (wanted := self._wish(names[0], alias)) in (None, adapter_set):
                return
            adapter_set = wanted

    def aliased(self, name: str, alias: str) -> str | None:
        """Return the version that an alias names, if the model exists and has it."""
        found = self.client.search_registered_models(f"name = '{name}'")
        number = found[0].aliases.get(alias) if found else None
        return str(number) if number else None

    def find_version(self, name: str, adapter_set: str) -> str | None:
        """Return the version of a set; the same weights in another set are another version."""
        return next(iter(_versions_of_set(self.client, name, adapter_set)), None)

    def log_version(
        self, name: str, adapter: Adapter, folder: Path, tags: dict[str, str], run_id: str
    ) -> str:
        """Register an adapter under a run and return its version: the oldest of its set, where
        somebody else has registered the same meanwhile.
        """
        try:
            own = _log_model(self, name, adapter, folder, tags, run_id)
        except MlflowException as error:
            # mlflow asks again where it hears no answer, and is then told that the run has this
            # model already: a model of its own does not meet what the first try left
            log.warning("%s is registered once more: %s", name, error)
            own = _log_model(self, name, adapter, folder, tags, run_id)
        oldest, *younger = _versions_of_set(self.client, name, tags["adapter_set"]) or [own]
        for number in younger:
            delete_version(self.client, name, number)
        return oldest


def _log_model(
    registry: Registry, name: str, adapter: Adapter, folder: Path, tags: dict[str, str], run_id: str
) -> str:
    """Log an adapter as a model of a run's, register it, and return its version."""
    # by itself log_model puts the model into the active experiment, not into the run's
    model = registry.client.create_logged_model(registry.experiment_id, adapter.name, run_id)
    with current(registry.tracking_uri):
        logged = mlflow.diffusers.log_model(
            str(folder),
            registry.recipe.base_path,
            name=adapter.name,
            run_id=run_id,
            model_id=model.model_id,
            pip_requirements=[
                f"{package}=={version(package)}" for package in ("torch", "diffusers", "peft")
            ],
        )
        return str(mlflow.register_model(logged.model_uri, name, tags=tags).version)


def _versions_of_set(client: MlflowClient, name: str, adapter_set: str) -> list[str]:
    """Return a model's versions of a set, the oldest first."""
    versions = every(client.search_model_versions, f"name = '{name}'")
    found = [int(v.version) for v in versions if v.tags.get("adapter_set") == adapter_set]
    return [str(number) for number in sorted(found)]


def has_files(registry: Registry, name: str, number: str) -> bool:
    """Return whether the store still has what a version is made of."""
    stored = registry.client.get_model_version_download_uri(name, number)
    try:
        return bool(mlflow.artifacts.list_artifacts(stored, tracking_uri=registry.tracking_uri))
    except MlflowException as error:
        if ErrorCode.Name(RESOURCE_DOES_NOT_EXIST) in str(error):
            return False
        raise


def delete_version(client: MlflowClient, name: str, number: str) -> None:
    """Delete a version, unless it is gone: somebody else, or a first try whose answer broke off,
    has deleted it.
    """
    try:
        client.delete_model_version(name, number)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise


def _experiment(client: MlflowClient, name: str) -> Experiment:
    """Return the experiment of a name, made where there is none."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.get_experiment(client.create_experiment(name))
        except MlflowException:  # another process created it in between
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return experiment


def _twice(write: Callable[[str, str, str], object], *arguments: str) -> None:
    """Write a tag or an alias. MLflow reads and then inserts: of two who write one for the first
    time, the second is refused by the database, and finds it there when it comes again.
    """
    with suppress(MlflowException):
        write(*arguments)
        return
    write(*arguments)


def _is_ours(name: str, number: str, tags: Mapping[str, str]) -> bool:
    """Return whether a version was registered by FairGen; say of one that was not that it is passed
    over.
    """
    if set(tags) >= _OURS:
        return True
    _say_passed_over(name, str(number))
    return False


@lru_cache(maxsize=4096)  # a registry is looked at every few seconds: each is named once
def _say_passed_over(name: str, number: str) -> None:
    log.warning("%s version %s was not registered by FairGen: passed over", name, number)
