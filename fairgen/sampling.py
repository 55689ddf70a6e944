"""How pictures are sampled: steps, guidance, and the part of the steps for which it holds.

Guidance in a limited interval: arXiv 2404.07724. Imports no torch.
"""

from dataclasses import dataclass

WHOLE = (0.0, 1.0)


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
class Sampling:
    """How pictures are sampled; guidance holds in an interval, in shares of the steps."""

    num_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float] = WHOLE

    def scale_at(self, step: int) -> float:
        """Return the guidance scale of a step: 1 where guidance is off."""
        is_on = step in guided_steps(self.num_steps, self.guidance_interval)
        return self.guidance_scale if is_on else 1.0
