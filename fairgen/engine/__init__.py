"""Rows that join and leave between denoising steps: every picture shares each forward pass."""

from fairgen.engine.engine import Engine
from fairgen.engine.requests import (
    AdapterNotLoaded,
    Event,
    ImageError,
    ImageJob,
    ImageResult,
    RequestHandle,
)
from fairgen.engine.thread import EngineState, EngineThread

__all__ = [
    "AdapterNotLoaded",
    "Engine",
    "EngineState",
    "EngineThread",
    "Event",
    "ImageError",
    "ImageJob",
    "ImageResult",
    "RequestHandle",
]
