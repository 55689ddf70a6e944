"""The prompt gate decides on which attributes of a prompt the indicator may act."""

from fairgen.gate.decision import AttributeDecision, GateDecision, decide

__all__ = ["AttributeDecision", "GateDecision", "decide"]
