"""The part of the steps for which guidance holds (arXiv 2404.07724): besides it the unconditional
prediction is not needed. Imports no torch.
"""

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
