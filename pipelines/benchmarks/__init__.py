"""Measure what the method and its endpoint cost; each name is imported when it is first used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.benchmarks.audit import audit_endpoint
    from pipelines.benchmarks.capacity import indicators_for, scaling_table
    from pipelines.benchmarks.memory_estimate import markdown_table, memory_page
    from pipelines.benchmarks.serving import bench, benchmark_table
    from pipelines.benchmarks.speed import (
        RECIPES,
        learning_table,
        measure_speed,
        memory_measured,
        read_speed,
        speed_table,
    )

__all__ = [
    "RECIPES",
    "audit_endpoint",
    "bench",
    "benchmark_table",
    "indicators_for",
    "learning_table",
    "markdown_table",
    "measure_speed",
    "memory_measured",
    "memory_page",
    "read_speed",
    "scaling_table",
    "speed_table",
]
_OWNERS = {
    "RECIPES": "speed",
    "audit_endpoint": "audit",
    "bench": "serving",
    "benchmark_table": "serving",
    "indicators_for": "capacity",
    "learning_table": "speed",
    "markdown_table": "memory_estimate",
    "measure_speed": "speed",
    "memory_measured": "speed",
    "memory_page": "memory_estimate",
    "read_speed": "speed",
    "scaling_table": "capacity",
    "speed_table": "speed",
}


def __getattr__(name: str) -> object:
    if name not in _OWNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OWNERS[name]}"), name)
