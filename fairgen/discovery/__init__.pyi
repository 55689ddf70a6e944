from .config import DiscoveryConfig, DiscoveryStats
from .discovery import Discovery
from .strengths import STRENGTHS, StrengthFit, StrengthSearch

__all__ = [
    "STRENGTHS",
    "Discovery",
    "DiscoveryConfig",
    "DiscoveryStats",
    "StrengthFit",
    "StrengthSearch",
]
