"""Paint with any source, judge, summarise, and show the figures."""

from pipelines.evaluation.engine_source import EngineSource
from pipelines.evaluation.evaluate import EvaluationWorker, evaluate
from pipelines.evaluation.evaluation import (
    Evaluation,
    Preservation,
    SystemFairness,
    evaluation_targets,
    summarise,
)
from pipelines.evaluation.measure import (
    Drawn,
    ImageSource,
    Judges,
    PromptPlan,
    draw_categories,
    measure,
    plan_prompt,
)
from pipelines.evaluation.report import (
    evaluation_table,
    gate_table,
    hit_rate_table,
    judges_table,
    png,
    write_report,
)

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
    "measure",
    "plan_prompt",
    "png",
    "summarise",
    "write_report",
]
