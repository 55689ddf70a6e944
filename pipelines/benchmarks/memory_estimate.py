"""How much GPU memory discovery takes for each recipe of a real model, calculated from shapes: no
weight is allocated.

The denoiser is built of tensors that have a shape and no content, its adapted projections get
directions, and one pass with a gradient runs through it. What counts is what stays: the weights,
the directions with gradient and optimiser, and the tensors that the pass keeps for the way back.
Passing buffers of kernels, and fragmentation, come on top: a tenth or two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import yaml
from pydantic import BaseModel, ConfigDict
from torch import Tensor, UntypedStorage, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from fairgen.bank import AdapterBank

_GIB = 2**30
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
_ADAM = 4  # a direction, its gradient and two moments, all in fp32


class PipelineShape(BaseModel):
    """A pipeline around a denoiser: its class in diffusers, further arguments of its constructor,
    and the configurations of its CLIP text encoders; the second one projects.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cls: str
    options: dict[str, Any]
    text_encoder: dict[str, int]
    text_encoder_2: dict[str, int] | None = None


class DenoiserShape(BaseModel):
    """A denoiser of full size: its class in diffusers, its configuration, and one row's inputs.

    `inputs` holds shapes without the row, in a list where the row stands in one, as text where
    there is none, or a number; what is nested deeper stays as it is. `adapted` holds the ends of
    the adapted layers' names, `left_alone` how others begin; `beside` the parameters of the
    pipeline's other parts that lie in memory; `picture` the size of a picture. `pipeline` describes
    the whole pipeline, where random weights can build it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: str
    cls: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    adapted: tuple[str, ...]
    left_alone: str | None = None
    beside: int
    pipeline: PipelineShape | None = None

    def adapts(self, name: str) -> bool:
        """Return whether a layer is adapted."""
        is_left_alone = self.left_alone is not None and name.startswith(self.left_alone)
        return name.endswith(self.adapted) and not is_left_alone


@dataclass(frozen=True)
class Memory:
    """GiB of each kind; `activations` of one row, with and without gradient checkpointing."""

    parameters: int
    denoiser_gib: float
    beside_gib: float
    directions_gib: float
    activations_gib: float
    checkpointed_gib: float

    @property
    def standing_gib(self) -> float:
        """The memory that does not depend on the batch."""
        return self.denoiser_gib + self.beside_gib + self.directions_gib

    def total_gib(self, num_rows: int, checkpointed: bool) -> float:
        """Return the memory of a batch of discovery, of which a third of the rows pass twice."""
        a_row = self.checkpointed_gib if checkpointed else self.activations_gib
        return self.standing_gib + a_row * (num_rows + max(1, num_rows // 3))


def discovery_memory(shape: DenoiserShape, rank: int, num_adapters: int) -> Memory:
    """Return what discovery with one row and bf16 weights takes."""
    with torch.device("meta"):
        denoiser: Any = getattr(diffusers, shape.cls)(**shape.config)
    denoiser.to(torch.bfloat16).requires_grad_(False)
    adapted = [name for name, _ in denoiser.named_modules() if shape.adapts(name)]
    bank = AdapterBank(denoiser, adapted)
    for index in range(num_adapters):
        bank.add_trainable(str(index), rank, torch.Generator())
    parameters = sum(p.numel() for p in denoiser.parameters())
    directions = sum(p.numel() for p in bank.parameters())
    plain = _saved_bytes(denoiser, bank, shape.inputs, num_adapters)
    denoiser.enable_gradient_checkpointing()
    checkpointed = _saved_bytes(denoiser, bank, shape.inputs, num_adapters)
    return Memory(
        parameters=parameters,
        denoiser_gib=2 * parameters / _GIB,
        beside_gib=2 * shape.beside / _GIB,
        directions_gib=4 * _ADAM * directions / _GIB,
        activations_gib=plain / _GIB,
        checkpointed_gib=checkpointed / _GIB,
    )


def _saved_bytes(
    denoiser: nn.Module, bank: AdapterBank, inputs: Mapping[str, Any], num_adapters: int
) -> int:
    """Return the bytes that one row's pass keeps for its gradient, weights not counted twice."""
    owned = {p.untyped_storage()._cdata for p in denoiser.parameters()}
    # the storages themselves: the address of a freed one would be given to another
    saved: dict[int, UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in owned:
            saved[storage._cdata] = storage
        return tensor

    row = {name: _zeros(value) for name, value in inputs.items()}
    gates = torch.zeros(1, num_adapters)
    gates[0, 0] = 1.0
    with _FusedAttention(), bank.gated(gates), saved_tensors_hooks(keep, lambda tensor: tensor):
        output = denoiser(**row, return_dict=False)[0]
    assert (output[0] if isinstance(output, list) else output).requires_grad
    return sum(storage.nbytes() for storage in saved.values())


class _FusedAttention(TorchFunctionMode):
    """Attention as a GPU's fused kernel computes it, which keeps no table of all pairs. On shapes
    alone torch would choose the plain one.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is scaled_dot_product_attention:
            return _flash_attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _flash_attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]


def _zeros(value: Any) -> Any:
    """Return an input of one row: zeros of a shape, a time step for a number, a mapping of both, or
    a list with the row's own tensor for a shape in a list; zeros without a row for a shape as text;
    what is nested deeper stays as it is.
    """
    if isinstance(value, Mapping):
        return {name: _zeros(inner) for name, inner in value.items()}
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return torch.full((1,), value, device="meta")
    if isinstance(value, str):
        sides = [int(side) for side in value.split(" x ")]
        return torch.zeros(*sides, dtype=torch.bfloat16, device="meta")
    if isinstance(value[0], list) and isinstance(value[0][0], list):
        return value
    if isinstance(value[0], list):
        return [torch.zeros(*shape, dtype=torch.bfloat16, device="meta") for shape in value]
    return torch.zeros(1, *value, dtype=torch.bfloat16, device="meta")


def full_size_shapes() -> dict[str, DenoiserShape]:
    """Return the denoisers of the shipped recipes at full size, by recipe."""
    shapes = yaml.safe_load(_SHAPES.read_text())
    return {name: DenoiserShape.model_validate(shape) for name, shape in shapes.items()}


def memory_page() -> str:
    """Return the page docs/memory.md: one line for every recipe."""
    rows = (
        _cells(name, shape, discovery_memory(shape, RANK, CATEGORIES))
        for name, shape in full_size_shapes().items()
    )
    return _HEAD + markdown_table(_COLUMNS, rows)


def _cells(name: str, shape: DenoiserShape, memory: Memory) -> list[str]:
    sizes = (
        memory.denoiser_gib,
        memory.beside_gib,
        memory.directions_gib,
        memory.activations_gib,
        memory.checkpointed_gib,
        memory.standing_gib + memory.checkpointed_gib,
    )
    return [
        f"`{name}`",
        shape.picture,
        f"{memory.parameters / 1e6:,.0f} M",
        *(f"{size:.2f}" for size in sizes),
    ]


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of the pages in docs/."""
    head, *body = (f"| {' | '.join(cells)} |\n" for cells in (columns, *rows))
    return "".join((head, "|" + "---|" * len(columns) + "\n", *body))
