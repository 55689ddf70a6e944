"""Denoising steps with a time step per row: a solver is a table of coefficients.

Every solver here is deterministic and linear in what it sees. At its place i, with the state x, the
model's prediction p, and the picture x_0' that was foreseen at the place before,

    x_0  = u_i x + w_i p
    x   <- a_i x + b_i x_0 + c_i x_0'

so rows that stand at different places, or take different numbers of steps, or follow different
solvers, all move by one line. Sources: DDIM, arXiv 2010.02502, equation 12 with sigma = 0;
DPM-Solver++ (2M), arXiv 2211.01095, algorithm 2; Euler on rectified flow, arXiv 2209.03003.
"""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SchedulerMixin,
)
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solver:
    """The places of a trajectory: their time steps, S, and their coefficients u w a b c, S x 5."""

    timesteps: Tensor
    table: Tensor

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def step(
        self, prediction: Tensor, x: Tensor, foreseen: Tensor, place_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each row one step less noisy, and the clean picture it foresees now."""
        return advance(self.table[place_N.cpu()], prediction, x, foreseen)


def advance(
    table_N5: Tensor, prediction: Tensor, x: Tensor, foreseen: Tensor
) -> tuple[Tensor, Tensor]:
    """Return next states and foreseen clean pictures of rows, each with its own coefficients.

    `foreseen` is what the step before returned; at a row's first place it does not count.
    """
    columns = table_N5.to(x.device, x.dtype).T.reshape(5, -1, *(1,) * (x.ndim - 1))
    u, w, a, b, c = columns
    x_0 = u * x + w * prediction
    return a * x + b * x_0 + c * foreseen, x_0


def solver_of(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return the solver that a pipeline's scheduler stands for.

    Raises ValueError for another scheduler, or one with options that make it another solver.
    """
    match scheduler:
        case DDIMScheduler():
            return ddim(scheduler, num_steps)
        case DPMSolverMultistepScheduler():
            return dpm_solver_2m(scheduler, num_steps)
        case FlowMatchEulerDiscreteScheduler():
            return flow_euler(scheduler, num_steps)
    raise ValueError(
        f"scheduler: got {type(scheduler).__name__}, allowed are DDIMScheduler, "
        "DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler"
    )


def ddim(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return DDIM on a base model's noise schedule, spacing and prediction type: diffusers' own."""
    theirs = DDIMScheduler.from_config(scheduler.config, clip_sample=False, thresholding=False)
    theirs.set_timesteps(num_steps)
    t = theirs.timesteps
    before = t - theirs.config.num_train_timesteps // num_steps
    alpha_bar = theirs.alphas_cumprod.double()
    now = alpha_bar[t]
    after = torch.where(before >= 0, alpha_bar[before.clamp(min=0)], theirs.final_alpha_cumprod)
    alpha, sigma = now.sqrt().numpy(), (1 - now).sqrt().numpy()
    alpha_after, sigma_after = after.sqrt().numpy(), (1 - after).sqrt().numpy()
    a = sigma_after / sigma
    b = alpha_after - alpha * a
    return _solver(t, *_foresee(theirs.config.prediction_type, alpha, sigma), a, b, 0 * a)


def dpm_solver_2m(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return DPM-Solver++ of second order, multistep, as diffusers' scheduler takes it.

    Its first and its last step are of first order. Raises ValueError for other orders or types.
    """
    theirs = DPMSolverMultistepScheduler.from_config(scheduler.config)
    wanted = {
        "solver_order": 2,
        "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint",
        "final_sigmas_type": "zero",
        "thresholding": False,
        "use_flow_sigmas": False,
    }
    for name, allowed in wanted.items():
        if (got := theirs.config[name]) != allowed:
            raise ValueError(f"scheduler.{name}: got {got!r}, allowed is {allowed!r}")
    theirs.set_timesteps(num_steps)
    noise = theirs.sigmas.double().numpy()
    alpha = 1 / np.sqrt(noise**2 + 1)
    sigma = noise * alpha
    with np.errstate(divide="ignore"):
        log_snr = np.log(alpha) - np.log(sigma)
    h = np.diff(log_snr)  # the last is infinite: no noise is left
    a = sigma[1:] / sigma[:-1]
    whole = -alpha[1:] * np.expm1(-h)
    b, c = whole.copy(), np.zeros_like(whole)
    for i in range(1, num_steps - 1):
        slope = 0.5 * whole[i] * h[i] / h[i - 1]
        b[i], c[i] = whole[i] + slope, -slope
    u, w = _foresee(theirs.config.prediction_type, alpha[:-1], sigma[:-1])
    return _solver(theirs.timesteps, u, w, a, b, c)


def flow_euler(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return Euler steps on a flow: x = (1 - sigma) x_0 + sigma noise, predicted a velocity."""
    theirs = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    theirs.set_timesteps(num_steps)
    sigma = theirs.sigmas.double().numpy()
    a = sigma[1:] / sigma[:-1]
    return _solver(theirs.timesteps, np.ones_like(a), -sigma[:-1], a, 1 - a, 0 * a)


def _foresee(prediction_type: str, alpha: Array, sigma: Array) -> tuple[Array, Array]:
    """Return u and w of x_0 = u x + w p, with x = alpha x_0 + sigma noise."""
    match prediction_type:
        case "epsilon":
            return 1 / alpha, -sigma / alpha
        case "v_prediction":
            return alpha, -sigma
    raise ValueError(f"prediction_type: got {prediction_type!r}, allowed are epsilon, v_prediction")


def _solver(timesteps: Tensor, *columns: Array) -> Solver:
    return Solver(timesteps, torch.from_numpy(np.stack(columns, axis=1)).float())
