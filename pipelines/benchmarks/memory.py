"""What discovery takes of a GPU for each shipped recipe of a real model, as a Markdown table."""

from pathlib import Path

import yaml

from pipelines.benchmarks.markdown import markdown_table
from pipelines.benchmarks.memory_estimate import DenoiserShape, Memory, discovery_memory

_SHAPES = Path(__file__).parent / "full_size.yaml"
RANK, CATEGORIES = 4, 2
_HEAD = """# Memory of discovery, calculated

`fairgen memory` counts this on shapes alone (`pipelines/benchmarks/memory_estimate.py`): bf16
weights, adapters of rank 4 for two categories on keys and values, in fp32 with gradient and
optimiser, fused attention. A batch of N rows keeps the activations of 4 N / 3 rows; kernels'
buffers and fragmentation come on top, a tenth or two. Text encoders and codec can wait in main
memory (`loading: {cpu_offload: true}`).

"""
_COLUMNS = (
    "recipe",
    "picture",
    "denoiser, parameters",
    "denoiser, GiB",
    "text encoders and codec, GiB",
    "adapters, GiB",
    "activations a row, GiB",
    "the same, checkpointed, GiB",
    "batch 1 in all, checkpointed, GiB",
)


def full_size_shapes() -> dict[str, DenoiserShape]:
    """Return the denoisers of the shipped recipes at full size, by recipe."""
    found = yaml.safe_load(_SHAPES.read_text())
    return {name: DenoiserShape.model_validate(shape) for name, shape in found.items()}


def memory_page() -> str:
    """Return the page docs/memory.md: one line for every recipe."""
    rows = (
        _cells(name, shape, discovery_memory(shape, RANK, CATEGORIES))
        for name, shape in full_size_shapes().items()
    )
    return _HEAD + markdown_table(_COLUMNS, rows)


def _cells(name: str, shape: DenoiserShape, found: Memory) -> list[str]:
    sizes = (
        found.denoiser_gib,
        found.beside_gib,
        found.directions_gib,
        found.activations_gib,
        found.checkpointed_gib,
        found.standing_gib + found.checkpointed_gib,
    )
    return [
        f"`{name}`",
        shape.picture,
        f"{found.parameters / 1e6:,.0f} M",
        *(f"{size:.2f}" for size in sizes),
    ]
