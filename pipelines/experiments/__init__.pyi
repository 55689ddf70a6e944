from .ablation.ablate import ablate
from .ablation.report import ablation_tables
from .comparison.compare import compare
from .comparison.conditions import eval_conditions
from .comparison.tables import comparison_tables, robustness_table

__all__ = [
    "ablate",
    "ablation_tables",
    "compare",
    "comparison_tables",
    "eval_conditions",
    "robustness_table",
]
