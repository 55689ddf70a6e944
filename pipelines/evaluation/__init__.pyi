from .engine_source import EngineSource
from .evaluation import (
    Abstention,
    Evaluation,
    Preservation,
    SystemFairness,
    evaluation_targets,
    summarise,
)
from .measure import (
    Drawn,
    ImageSource,
    Judges,
    PromptPlan,
    draw_categories,
    measure_prompt,
    pick_shown,
    picture_seeds,
    plan_prompt,
)
from .report import (
    evaluation_table,
    gate_table,
    hit_rate_table,
    judge_table,
    judges_table,
    sample_size,
    write_report,
)
from .strengths import fit_strengths, strength_table
from .worker import EvaluationWorker, evaluate, shown_cells

__all__ = [
    "Abstention",
    "Drawn",
    "EngineSource",
    "Evaluation",
    "EvaluationWorker",
    "ImageSource",
    "Judges",
    "Preservation",
    "PromptPlan",
    "SystemFairness",
    "draw_categories",
    "evaluate",
    "evaluation_table",
    "evaluation_targets",
    "fit_strengths",
    "gate_table",
    "hit_rate_table",
    "judge_table",
    "judges_table",
    "measure_prompt",
    "pick_shown",
    "picture_seeds",
    "plan_prompt",
    "sample_size",
    "shown_cells",
    "strength_table",
    "summarise",
    "write_report",
]
