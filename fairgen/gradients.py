"""Gradients that can be trusted: of adapters alone, by sound kernels, and no step along NaN."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

MAX_NORM = 1.0
# in bfloat16 the backward of a CPU's fused attention takes three to four times float32's time
# (torch 2.13): up to so many tokens the whole matrix is small enough to be kept instead
_FEW_TOKENS = 256


@contextmanager
def sound_gradients(base: nn.Module, num_tokens: int | None = None) -> Iterator[None]:
    """Freeze a base model and leave cuDNN's attention out, from the forward to the end of backward.

    `num_tokens` is how long the longest sequence of attention is, where that is known.

    Parameters that took gradients take them again afterwards. In half precision cuDNN's gradients
    are NaN for shapes that its forward pass takes (FLUX.1 with few tokens; one H200, torch 2.11).
    """
    training = [parameter for parameter in base.parameters() if parameter.requires_grad]
    kernels = [SDPBackend.MATH]
    if not (_is_bfloat16_on_cpu(base) and num_tokens and num_tokens <= _FEW_TOKENS):
        kernels += [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]
    for parameter in training:
        parameter.requires_grad_(False)
    try:
        with sdpa_kernel(kernels):
            yield
    finally:
        for parameter in training:
            parameter.requires_grad_(True)


def _is_bfloat16_on_cpu(base: nn.Module) -> bool:
    first = next(base.parameters())
    return first.device.type == "cpu" and first.dtype == torch.bfloat16


def share_of_mean(found: Tensor, at: Sequence[int], wanted: Tensor, rows: range) -> Tensor:
    """Return what the rows `at` add to the mean squared error over `rows` of M; `found` are their
    predictions, `wanted` is M x ...
    """
    own = [index for index, row in enumerate(at) if row in rows]
    if not own:
        return found.new_zeros(())
    error = nn.functional.mse_loss(found[own], wanted[[at[index] for index in own]])
    return error * (len(own) / len(rows))


def clip_gradients(parameters: Iterable[Tensor], update: int, dtype: torch.dtype) -> None:
    """Clip gradients to a norm of 1 before an optimiser's step.

    Raises FloatingPointError where they are not finite: the step would make every weight NaN.
    """
    if not nn.utils.clip_grad_norm_(parameters, MAX_NORM).isfinite():
        raise FloatingPointError(
            f"update {update}: the gradient is not finite in {dtype}; a smaller learning_rate or "
            "loading.dtype float32 may help, and the last checkpoint is sound"
        )


def warmup_cosine(step: int, warmup: int, num_steps: int, floor: float = 0.05) -> float:
    """Return the share of the learning rate at a step: up in a line, then down a cosine."""
    warm = min(1.0, (step + 1) / max(1, warmup))
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / num_steps)))
    return warm * (floor + (1 - floor) * fall)
