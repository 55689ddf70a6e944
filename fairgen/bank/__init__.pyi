from .active_directions import ActiveDirections
from .bank import COMPUTE_DTYPES, FUSED_LAYERS, AdapterBank, Directions, LayerNotReached
from .positions import Positions, TextPositions

__all__ = [
    "COMPUTE_DTYPES",
    "FUSED_LAYERS",
    "ActiveDirections",
    "AdapterBank",
    "Directions",
    "LayerNotReached",
    "Positions",
    "TextPositions",
]
