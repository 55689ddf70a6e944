"""The registry: MLflow's runs and registered models. Nothing else imports mlflow."""

from pipelines.registry.migration import push
from pipelines.registry.runs import Curves, fail_fast
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
    "fail_fast",
    "push",
]
