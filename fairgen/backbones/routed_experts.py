"""Gradients through layers that route each token to a few experts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def experts_with_gradients(denoiser: Any, kind: type[nn.Module]) -> Iterator[None]:
    """Inside the `with`, and where a block is computed anew for a backward pass, routed layers of a
    kind compute as they do in training: otherwise diffusers has them compute without gradients
    (0.42.1), and what adapters learn would leave the experts out. Their outputs stay what they are.
    """
    routed = [module for module in denoiser.modules() if isinstance(module, kind)]
    if not torch.is_grad_enabled():
        yield
    elif not denoiser.gradient_checkpointing:
        with _training(routed):
            yield
    else:
        checkpointed: Callable[..., Any] = denoiser._gradient_checkpointing_func

        def with_experts(block: nn.Module, *given: Any) -> Any:
            def compute(*again: Any) -> Any:
                with _training(routed):
                    return block(*again)

            return checkpointed(compute, *given)

        denoiser._gradient_checkpointing_func = with_experts
        try:
            yield
        finally:
            denoiser._gradient_checkpointing_func = checkpointed


@contextmanager
def _training(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Set the modules, and none within them, to training inside the `with`."""
    before = [module.training for module in modules]
    try:
        for module in modules:
            module.training = True
        yield
    finally:
        for module, was in zip(modules, before, strict=True):
            module.training = was
