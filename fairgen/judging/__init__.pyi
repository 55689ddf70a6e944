from .agreement import Agreement, agreement_between
from .config import JudgeConfig
from .gate_suite import SuiteCount, gate_report
from .intervals import Estimate, ShareSample, corrected_rate, proportion_interval
from .judge import Classified, Judge, Perception
from .judge_confusion import JudgeConfusion, measure_confusion
from .language_suite import language_report
from .metrics import (
    class_shares,
    drift_floor,
    fairness_discrepancy,
    frechet_distance,
    kernel_distance,
    mean_counted,
    sampling_floor,
)
from .prompt_sets import ConceptPrompts, load_prompt_set
from .scoring import (
    EmbeddedImages,
    Fairness,
    JudgedLabels,
    PromptScore,
    cell_counts,
    diversity,
    drift,
    hit_counts,
    hit_rates,
    prompt_fairness,
    score_pictures,
)

__all__ = [
    "Agreement",
    "Classified",
    "ConceptPrompts",
    "EmbeddedImages",
    "Estimate",
    "Fairness",
    "Judge",
    "JudgeConfig",
    "JudgeConfusion",
    "JudgedLabels",
    "Perception",
    "PromptScore",
    "ShareSample",
    "SuiteCount",
    "agreement_between",
    "cell_counts",
    "class_shares",
    "corrected_rate",
    "diversity",
    "drift",
    "drift_floor",
    "fairness_discrepancy",
    "frechet_distance",
    "gate_report",
    "hit_counts",
    "hit_rates",
    "kernel_distance",
    "language_report",
    "load_prompt_set",
    "mean_counted",
    "measure_confusion",
    "prompt_fairness",
    "proportion_interval",
    "sampling_floor",
    "score_pictures",
]
