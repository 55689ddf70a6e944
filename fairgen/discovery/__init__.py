"""Discovery: adapters are learnt from what the frozen model knows, on its own paths."""

from fairgen.discovery.config import DiscoveryConfig, DiscoveryStats
from fairgen.discovery.discovery import Discovery

__all__ = ["Discovery", "DiscoveryConfig", "DiscoveryStats"]
