"""The registry: MLflow's runs and registered models. Nothing else imports mlflow."""

from pipelines.registry.migration import push
from pipelines.registry.promotion import promote
from pipelines.registry.runs import Curves, TrainingRuns
from pipelines.registry.server import fail_fast
from pipelines.registry.versions import (
    Champion,
    ChampionSet,
    RegisteredAdapter,
    RegisteredVersion,
    Registry,
)

__all__ = [
    "Champion",
    "ChampionSet",
    "Curves",
    "RegisteredAdapter",
    "RegisteredVersion",
    "Registry",
    "TrainingRuns",
    "fail_fast",
    "promote",
    "push",
]
