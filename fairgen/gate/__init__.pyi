from .decision import GateDecision, decide

__all__ = [
    "GateDecision",
    "decide",
]
