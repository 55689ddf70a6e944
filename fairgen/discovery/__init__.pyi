from .config import DiscoveryConfig, DiscoveryStats
from .discovery import Discovery

__all__ = [
    "Discovery",
    "DiscoveryConfig",
    "DiscoveryStats",
]
