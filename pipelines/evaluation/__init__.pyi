from .engine_source import EngineSource
from .evaluation import Evaluation, Preservation, SystemFairness, evaluation_targets, summarise
from .measure import (
    Drawn,
    ImageSource,
    Judges,
    PromptPlan,
    draw_categories,
    measure_prompt,
    plan_prompt,
)
from .report import evaluation_table, gate_table, hit_rate_table, judges_table, write_report
from .worker import EvaluationWorker, evaluate

__all__ = [
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
    "gate_table",
    "hit_rate_table",
    "judges_table",
    "measure_prompt",
    "plan_prompt",
    "summarise",
    "write_report",
]
