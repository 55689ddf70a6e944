"""Gradients that can be trusted: attention whose backward pass is sound, and no step along NaN."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

MAX_NORM = 1.0


def sound_attention() -> AbstractContextManager[None]:
    """Return a context without cuDNN's attention, from the forward pass to the end of the backward.

    In half precision its gradients are NaN for shapes that its forward pass takes (FLUX.1 with few
    tokens; one H200, torch 2.11).
    """
    kernels = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    found: AbstractContextManager[None] = sdpa_kernel(kernels)
    return found


def clip_gradients(parameters: Iterable[Tensor], update: int, dtype: torch.dtype) -> None:
    """Clip gradients to a norm of 1 before an optimiser's step.

    Raises FloatingPointError where they are not finite: the step would make every weight NaN.
    """
    if not nn.utils.clip_grad_norm_(parameters, MAX_NORM).isfinite():
        raise FloatingPointError(
            f"update {update}: the gradient is not finite in {dtype}; a smaller learning_rate or "
            "loading.dtype float32 may help, and the last checkpoint is sound"
        )
