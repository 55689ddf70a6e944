from .workflow import (
    Outcome,
    evaluate_candidates,
    evaluate_champions,
    evaluate_trained,
    finished_training,
    fit_champions,
    train_all,
)

__all__ = [
    "Outcome",
    "evaluate_candidates",
    "evaluate_champions",
    "evaluate_trained",
    "finished_training",
    "fit_champions",
    "train_all",
]
