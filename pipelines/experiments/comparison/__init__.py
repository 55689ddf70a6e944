"""FairGen beside its rivals on one base model."""

from pipelines.experiments.comparison.compare import compare
from pipelines.experiments.comparison.conditions import eval_conditions
from pipelines.experiments.comparison.tables import comparison_tables, robustness_table

__all__ = ["compare", "comparison_tables", "eval_conditions", "robustness_table"]
