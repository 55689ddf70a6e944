from .agreement import Agreement, agreement_between
from .config import JudgeConfig
from .gate_suite import SuiteCount, gate_report
from .judge import Judge, Perception
from .metrics import (
    bootstrap_interval,
    class_shares,
    drift_floor,
    fairness_discrepancy,
    frechet_distance,
    kernel_distance,
    sampling_floor,
)
from .prompt_sets import ConceptPrompts, load_prompt_set
from .scoring import (
    EmbeddedImages,
    Fairness,
    JudgedLabels,
    PromptScore,
    diversity,
    drift,
    hit_rates,
    prompt_fairness,
    score_pictures,
)

__all__ = [
    "Agreement",
    "ConceptPrompts",
    "EmbeddedImages",
    "Fairness",
    "Judge",
    "JudgeConfig",
    "JudgedLabels",
    "Perception",
    "PromptScore",
    "SuiteCount",
    "agreement_between",
    "bootstrap_interval",
    "class_shares",
    "diversity",
    "drift",
    "drift_floor",
    "fairness_discrepancy",
    "frechet_distance",
    "gate_report",
    "hit_rates",
    "kernel_distance",
    "load_prompt_set",
    "prompt_fairness",
    "sampling_floor",
    "score_pictures",
]
