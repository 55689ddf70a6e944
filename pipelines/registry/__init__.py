"""The registry: MLflow's runs and registered models. Nothing else imports mlflow."""

from pipelines.registry.migration import push
from pipelines.registry.runs import Curves, impatient
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
    "impatient",
    "push",
]
