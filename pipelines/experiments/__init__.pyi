from .ablation.ablate import ablate
from .ablation.report import ablation_tables
from .comparison.compare import compare
from .comparison.conditions import eval_conditions
from .comparison.tables import comparison_tables, robustness_table
from .edits.edits import edits
from .edits.report import edits_table
from .groups.groups import GroupsSize, groups
from .groups.report import groups_table

__all__ = [
    "GroupsSize",
    "ablate",
    "ablation_tables",
    "compare",
    "comparison_tables",
    "edits",
    "edits_table",
    "eval_conditions",
    "groups",
    "groups_table",
    "robustness_table",
]
