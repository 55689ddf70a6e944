from .decision import GateDecision, decide
from .syntax import foreign_signs

__all__ = [
    "GateDecision",
    "decide",
    "foreign_signs",
]
