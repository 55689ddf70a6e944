"""Judges say who is in a picture; scores, metrics and prompt sets say what follows."""

from fairgen.judging.agreement import Agreement, agreement
from fairgen.judging.config import JudgeConfig
from fairgen.judging.gate_suite import SuiteCount, gate_report
from fairgen.judging.judge import Judge, Perception
from fairgen.judging.metrics import (
    bootstrap_interval,
    class_shares,
    drift_floor,
    fairness_discrepancy,
    frechet_distance,
    kernel_distance,
    sampling_floor,
)
from fairgen.judging.prompt_sets import ConceptPrompts, load_prompt_set
from fairgen.judging.scoring import (
    EmbeddedImages,
    Fairness,
    JudgedLabels,
    PromptScore,
    diversity,
    drift,
    fairness_of,
    hit_rates,
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
    "agreement",
    "bootstrap_interval",
    "class_shares",
    "diversity",
    "drift",
    "drift_floor",
    "fairness_discrepancy",
    "fairness_of",
    "frechet_distance",
    "gate_report",
    "hit_rates",
    "kernel_distance",
    "load_prompt_set",
    "sampling_floor",
    "score_pictures",
]
