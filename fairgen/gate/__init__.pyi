from .decision import GateDecision, decide
from .rewriting import Rewriting, without_additions
from .syntax import foreign_signs

__all__ = [
    "GateDecision",
    "Rewriting",
    "decide",
    "foreign_signs",
    "without_additions",
]
