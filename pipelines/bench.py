"""`make bench`: the ratios that a claim of speed rests on, from one run, with machine and date."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch
from rich.table import Table

from fairgen.backbones import load_backbone
from fairgen.bench import bank_figures
from pipelines.recipe import Recipe

_MEANING = {
    "bank_overhead": "8 rows with mixed adapters over the bare denoiser",
    "bank_64_over_2": "64 adapters loaded over 2",
    "peft_over_bank": "PEFT's mixed batch (adapter_names) over the bank",
    "switching_over_bank": "one row at a time with set_adapters over the bank",
}


def bench(recipe: Recipe, out: Path) -> dict[str, float]:
    """Measure on the recipe's base model and write the figures to `out`, a JSON file."""
    torch.set_num_threads(1)
    figures = bank_figures(load_backbone(recipe.load_base()))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": gpu or f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
        "torch": torch.__version__,
        "base": recipe.base,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(about | figures, indent=2) + "\n")
    return figures


def table_of(figures: dict[str, float]) -> Table:
    """Return the terminal's table of ratios."""
    table = Table(title="Time of one denoiser pass, ratio, median of rounds in turn")
    for heading in ("figure", "ratio", "meaning"):
        table.add_column(heading)
    for name, value in figures.items():
        table.add_row(name, f"{value:.2f}", _MEANING[name])
    return table
