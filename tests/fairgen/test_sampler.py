"""DDIM by rows equals diffusers' scheduler, also with every row at another step."""

import pytest
import torch
from diffusers import DDIMScheduler

from fairgen.sampler import Ddim

CONFIGS = [
    {"prediction_type": prediction, "timestep_spacing": spacing, "set_alpha_to_one": last}
    for prediction in ("epsilon", "v_prediction")
    for spacing, last in (("leading", False), ("trailing", True), ("linspace", False))
]


def scheduler(**config: object) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        steps_offset=1, **config,
    )  # fmt: skip


def prediction(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """A stand-in denoiser that depends on the state and the time step."""
    return torch.tanh(x + t.view(-1, 1, 1, 1) / 1000)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("num_steps", [7, 12, 50])
def test_a_trajectory_equals_diffusers(config: dict[str, object], num_steps: int) -> None:
    theirs, ours = scheduler(**config), Ddim(scheduler(**config), num_steps)
    theirs.set_timesteps(num_steps)
    assert torch.equal(theirs.timesteps, ours.timesteps)
    x = y = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for place, t in enumerate(theirs.timesteps):
        x = theirs.step(prediction(x, t[None]), t, x).prev_sample
        y = ours.step(prediction(y, t[None]), y, torch.full((3,), place))
    torch.testing.assert_close(y, x, atol=1e-4, rtol=1e-4)


def test_rows_at_different_places_step_as_if_alone() -> None:
    ours = Ddim(scheduler(prediction_type="epsilon"), 10)
    x = torch.randn(3, 4, 8, 8)
    place = torch.tensor([0, 4, 9])
    together = ours.step(torch.sin(x), x, place)
    for row in range(3):
        alone = ours.step(torch.sin(x[row : row + 1]), x[row : row + 1], place[row : row + 1])
        assert torch.equal(together[row : row + 1], alone)


def test_an_unknown_prediction_type_is_refused() -> None:
    ours = Ddim(scheduler(prediction_type="sample"), 5)
    with pytest.raises(ValueError, match="got 'sample', allowed are epsilon, v_prediction"):
        ours.step(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8), torch.tensor([0]))
