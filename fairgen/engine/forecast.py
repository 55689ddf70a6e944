"""Predictions that are forecast from earlier ones, in place of a pass of the denoiser.

Source: TaylorSeer, arXiv 2503.06923, equations 3 to 5, on the denoiser's output alone, as the lite
mode of diffusers' `TaylorSeerCacheConfig` has it: what the model is, and its layers, do not matter.
"""

import math

from torch import Tensor

from fairgen.solvers import Solver


class TaylorSeries:
    """Forecasts a prediction of one row by the divided differences of those that were computed."""

    def __init__(self, max_order: int) -> None:
        self._max_order = max_order
        self._step = -1  # of the last one that was computed
        self._factors: list[Tensor] = []

    def add(self, step: int, prediction: Tensor) -> None:
        """Take what was computed at a step."""
        factors = [prediction]
        for before in self._factors[: self._max_order]:
            factors.append((factors[-1] - before) / (step - self._step))
        self._step, self._factors = step, factors

    def at(self, step: int) -> Tensor:
        """Return what is forecast for a later step."""
        ahead, total = step - self._step, self._factors[0]
        for order, factor in enumerate(self._factors[1:], start=1):
            total = total + factor * (ahead**order / math.factorial(order))
        return total


def check_forecasts(solver: Solver, scheduler: str) -> None:
    """Raise ValueError for a solver of a scheduler by which no prediction follows from earlier
    ones.
    """
    if any(map(solver.draws_noise, range(solver.num_steps))):
        raise ValueError(
            f"taylorseer: got one with {scheduler}, which adds noise at its steps, so that no "
            "prediction follows from earlier ones; allowed is none"
        )
