"""One setting of discovery changed at a time."""

from pipelines.experiments.ablation.ablate import ablate
from pipelines.experiments.ablation.report import ablation_tables

__all__ = ["ablate", "ablation_tables"]
