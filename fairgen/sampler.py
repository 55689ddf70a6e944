"""DDIM with a time step per row, deterministic, equal to diffusers' DDIMScheduler."""

from copy import deepcopy

import torch
from diffusers import DDIMScheduler, SchedulerMixin
from torch import Tensor


class Ddim:
    """The DDIM time steps of a base model's noise schedule, and a step for rows anywhere on it."""

    def __init__(self, scheduler: SchedulerMixin, num_steps: int) -> None:
        """Take noise schedule, spacing and prediction type from the base model's own scheduler."""
        ddim = DDIMScheduler.from_config(
            deepcopy(scheduler.config), clip_sample=False, thresholding=False
        )
        ddim.set_timesteps(num_steps)
        self.timesteps: Tensor = ddim.timesteps
        self.num_steps = len(self.timesteps)
        self.prediction_type: str = ddim.config.prediction_type
        stride = ddim.config.num_train_timesteps // num_steps
        alphas = ddim.alphas_cumprod
        previous = self.timesteps - stride
        self._alpha = alphas[self.timesteps]
        self._alpha_next = torch.where(
            previous >= 0, alphas[previous.clamp(min=0)], ddim.final_alpha_cumprod
        )

    def step(self, prediction: Tensor, x_t: Tensor, place_N: Tensor) -> Tensor:
        """Return each row one step less noisy; `place_N` is the row's index into `timesteps`.

            x_next = sqrt(a_next) x_0 + sqrt(1 - a_next) eps

        with x_0 and eps from the prediction, and no fresh noise: DDIM, arXiv 2010.02502, equation
        12 with sigma = 0. Raises ValueError for a prediction type other than noise or velocity.
        """
        shape = (-1,) + (1,) * (x_t.ndim - 1)
        alpha = self._alpha.to(x_t)[place_N].view(shape)
        alpha_next = self._alpha_next.to(x_t)[place_N].view(shape)
        signal, sigma = alpha.sqrt(), (1 - alpha).sqrt()
        if self.prediction_type == "epsilon":
            epsilon = prediction
            x_0 = (x_t - sigma * epsilon) / signal
        elif self.prediction_type == "v_prediction":
            x_0 = signal * x_t - sigma * prediction
            epsilon = signal * prediction + sigma * x_t
        else:
            raise ValueError(
                f"prediction_type: got {self.prediction_type!r}, allowed are epsilon, v_prediction"
            )
        return alpha_next.sqrt() * x_0 + (1 - alpha_next).sqrt() * epsilon
