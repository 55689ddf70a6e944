from .audit import audit_endpoint
from .capacity import indicators_for, scaling_table
from .memory_estimate import markdown_table, memory_page
from .provenance import (
    ProvenanceFigures,
    embedded_pictures,
    measure_provenance,
    provenance_tables,
    read_pictures,
)
from .race import RaceSize, race, race_table, write_race
from .serving import BenchmarkSize, bench, benchmark_table
from .speed import RECIPES, learning_table, measure_speed, memory_measured, read_speed, speed_table
from .traffic import TrafficSize, draw_traffic, measure_traffic, traffic_table

__all__ = [
    "RECIPES",
    "BenchmarkSize",
    "ProvenanceFigures",
    "RaceSize",
    "TrafficSize",
    "audit_endpoint",
    "bench",
    "benchmark_table",
    "draw_traffic",
    "embedded_pictures",
    "indicators_for",
    "learning_table",
    "markdown_table",
    "measure_provenance",
    "measure_speed",
    "measure_traffic",
    "memory_measured",
    "memory_page",
    "provenance_tables",
    "race",
    "race_table",
    "read_pictures",
    "read_speed",
    "scaling_table",
    "speed_table",
    "traffic_table",
    "write_race",
]
