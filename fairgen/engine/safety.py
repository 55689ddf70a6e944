"""The base model's own safety checker: what it flags leaves the engine black, and says so."""

import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn


class SafetyChecker:
    """Asks the checker of a pipeline about pixels, as the pipeline does. One thread uses it."""

    def __init__(self, pipe: DiffusionPipeline) -> None:
        self._pipe = pipe

    @property
    def is_on(self) -> bool:
        """Whether the pipeline has a checker."""
        return getattr(self._pipe, "safety_checker", None) is not None

    def check(self, pixels: Tensor) -> tuple[Tensor, list[bool] | None]:
        """Return the pixels, and for each picture whether it is flagged; None without a checker."""
        if not self.is_on:
            return pixels, None
        pixels, flagged = self._pipe.run_safety_checker(
            pixels, self._pipe._execution_device, self._dtype
        )
        return pixels, [bool(flag) for flag in flagged]

    @property
    def _dtype(self) -> torch.dtype:
        checker = self._pipe.safety_checker
        weights = checker.parameters() if isinstance(checker, nn.Module) else iter(())
        return next((w.dtype for w in weights if w.is_floating_point()), torch.float32)
