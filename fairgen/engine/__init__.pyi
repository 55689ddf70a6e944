from .engine import Engine
from .forecast import check_forecasts
from .key_values import KeyValueCache
from .pass_size import measured_max_rows
from .requests import (
    AdapterNotLoaded,
    Event,
    ImageError,
    ImageJob,
    ImageResult,
    RequestHandle,
    StartImage,
    TooLate,
)
from .thread import EngineState, EngineThread

__all__ = [
    "AdapterNotLoaded",
    "Engine",
    "EngineState",
    "EngineThread",
    "Event",
    "ImageError",
    "ImageJob",
    "ImageResult",
    "KeyValueCache",
    "RequestHandle",
    "StartImage",
    "TooLate",
    "check_forecasts",
    "measured_max_rows",
]
