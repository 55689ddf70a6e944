from .decision import Gate, GateDecision, decide, decide_together
from .rewriting import Rewriting, decide_rewriting, without_additions
from .syntax import foreign_signs

__all__ = [
    "Gate",
    "GateDecision",
    "Rewriting",
    "decide",
    "decide_rewriting",
    "decide_together",
    "foreign_signs",
    "without_additions",
]
