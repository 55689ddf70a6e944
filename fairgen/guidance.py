"""Classifier-free guidance: which rows of a batch bring an unconditional row, and how they combine.

Source: arXiv 2207.12598, equation 6, in diffusers' form: scale 1 is the conditional prediction.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
# from unconditional and conditional predictions and a scale, the guided ones
Guide = Callable[[Tensor, Tensor, Tensor], Tensor]


def guided(unconditional: Tensor, conditional: Tensor, scale: float | Tensor) -> Tensor:
    """Return the guided prediction, unconditional + scale (conditional - unconditional)."""
    return unconditional + scale * (conditional - unconditional)


@dataclass(frozen=True)
class GuidedRows:
    """A batch of N conditional rows, then one unconditional row for each that is guided.

    `indices` are the guided ones among the N; the batch has N + G rows. Gates of unconditional rows
    are zero, so that guidance amplifies the directions.
    """

    num_rows: int
    indices: tuple[int, ...]

    @classmethod
    def all(cls, num_rows: int) -> "GuidedRows":
        """Return the layout of a batch in which every row is guided."""
        return cls(num_rows, tuple(range(num_rows)))

    @classmethod
    def at(cls, step_indices: Sequence[int], guided_steps: Container[int]) -> "GuidedRows":
        """Return the layout of a batch whose rows are at these steps."""
        return cls(
            len(step_indices),
            tuple(row for row, step in enumerate(step_indices) if step in guided_steps),
        )

    @property
    def num_denoiser_rows(self) -> int:
        """How many rows the denoiser computes."""
        return self.num_rows + len(self.indices)

    def repeat(self, values_N: Tensor) -> Tensor:
        """Return what N rows have, N x ..., for all denoiser rows, N + G x ..."""
        return torch.cat([values_N, values_N[list(self.indices)]])

    def gates(self, gates_NK: Tensor) -> Tensor:
        """Return the gates of all denoiser rows, N + G x K: zero where unconditional."""
        return torch.cat([gates_NK, gates_NK.new_zeros(len(self.indices), gates_NK.shape[1])])

    def rows(self, conditional: Sequence[T], unconditional: Sequence[T]) -> list[T]:
        """Return one value a denoiser row, from N conditional and N unconditional ones."""
        return [*conditional, *(unconditional[index] for index in self.indices)]

    def combine(self, prediction: Tensor, scale_N: Tensor, guide: Guide = guided) -> Tensor:
        """Return the guided predictions, N x ..., of a pass over all denoiser rows; `guide` is how
        the family combines two.
        """
        conditional, unconditional = prediction.split([self.num_rows, len(self.indices)])
        if not self.indices:
            return conditional
        at = list(self.indices)
        scale_G = scale_N[at].to(prediction).view(-1, *(1,) * (prediction.ndim - 1))
        combined = conditional.clone()
        combined[at] = guide(unconditional, conditional[at], scale_G)
        return combined
