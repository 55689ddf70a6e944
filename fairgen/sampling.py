"""How pictures are sampled: steps and how many there may be, guidance and where it holds, and which
steps are forecast.

Guidance in a limited interval: arXiv 2404.07724. TaylorSeer: arXiv 2503.06923. Imports no torch.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

WHOLE = (0.0, 1.0)
_SCHEDULE, _OF_LCM = 1000, 50  # diffusers' own, where a configuration does not say


def most_steps(scheduler: str, config: Mapping[str, Any]) -> int | None:
    """Return the most steps that a scheduler of diffusers takes, by its class and configuration:
    those of its schedule. None for any number, as on a flow that is followed between its ends.
    """
    if scheduler == "FlowMatchEulerDiscreteScheduler":
        return None
    most = int(config.get("num_train_timesteps", _SCHEDULE))
    if scheduler == "LCMScheduler":
        most = min(most, int(config.get("original_inference_steps", _OF_LCM)))
    return most


def guided_steps(num_steps: int, interval: tuple[float, float]) -> range:
    """Return the steps that are guided, of shares of all of them from 0 to 1, rounded as diffusers'
    guiders round.

    Raises ValueError for shares that are none, or the wrong way round.
    """
    start, stop = interval
    if not 0 <= start <= stop <= 1:
        raise ValueError(
            f"guidance_interval: got {start} to {stop}, allowed are shares of the steps from 0 to 1"
        )
    return range(int(start * num_steps), int(stop * num_steps))


@dataclass(frozen=True)
class TaylorSeer:
    """Which predictions are forecast from earlier ones in place of a pass, and how: diffusers'
    `TaylorSeerCacheConfig` in its lite mode, field by field, for each picture by itself.

    Steps are counted from 0. The first `disable_cache_before_step` are computed, then one in
    `cache_interval`, and all from `disable_cache_after_step` on. A forecast is a series of
    `max_order`.
    """

    cache_interval: int = 2
    disable_cache_before_step: int = 3
    disable_cache_after_step: int | None = None
    max_order: int = 1

    def forecast_steps(self, num_steps: int, guided: Container[int]) -> frozenset[int]:
        """Return the steps that are forecast. One that is guided needs a guided one before it: its
        unconditional prediction is forecast, too.
        """
        found, computed = set(), self.disable_cache_before_step - 1
        for step in range(self.disable_cache_before_step, num_steps):
            is_due = (step - self.disable_cache_before_step - 1) % self.cache_interval == 0
            end = self.disable_cache_after_step
            is_late = end is not None and step >= end
            if is_due or is_late or (step in guided and computed not in guided):
                computed = step
            else:
                found.add(step)
        return frozenset(found)


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled; guidance holds in an interval, in shares of the steps."""

    num_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float] = WHOLE
    taylorseer: TaylorSeer | None = None

    def is_guided(self, step: int) -> bool:
        """Return whether guidance holds at a step."""
        return step in guided_steps(self.num_steps, self.guidance_interval)
