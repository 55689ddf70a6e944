"""Denoising steps with a time step per row: a solver is a table of coefficients.

Every solver here is linear in what it sees. At step i, with the state x, the model's prediction p,
the clean picture x_0' predicted at the step before, and fresh noise n,

    x_0  = u_i x + w_i p
    x   <- a_i x + b_i x_0 + c_i x_0' + d_i n

so rows at different steps, or with different numbers of steps, or follow different
solvers, all move by one line. States are of the variance-preserving kind, x = alpha x_0 + sigma n
with alpha^2 + sigma^2 = 1, or of a flow; a solver that knows sigma / alpha only is rewritten.
Sources: DDIM, arXiv 2010.02502, equation 12 with sigma = 0; DPM-Solver++ (2M), arXiv 2211.01095,
algorithm 2; Euler and its ancestral kind, arXiv 2206.00364, algorithm 2, as k-diffusion takes them;
multistep consistency sampling, arXiv 2310.04378, algorithm 1; Euler on rectified flow, arXiv
2209.03003.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    SchedulerMixin,
)
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Solver:
    """The S steps of a trajectory: their time steps and coefficients u w a b c d, S x 6.

    The first state is noise times `start`.
    """

    timesteps: Tensor
    table: Tensor
    start: float = 1.0

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    def draws_noise(self, step_index: int) -> bool:
        """Return whether a step adds fresh noise."""
        return bool(self.table[step_index, -1])

    def step(
        self, prediction: Tensor, x: Tensor, pred_x0: Tensor, step_index_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return each row one step less noisy, and the clean picture that is predicted now.

        For solvers that add no noise.
        """
        return advance(self.table[step_index_N.cpu()], prediction, x, pred_x0)


def advance(
    table_N6: Tensor, prediction: Tensor, x: Tensor, pred_x0: Tensor, noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return next states and predicted clean pictures of rows, each with its own coefficients.

    `pred_x0` is what the step before returned; at a row's first step it does not count. `noise`
    None is for rows that add none.
    """
    columns = table_N6.to(x.device, x.dtype).T.reshape(6, -1, *(1,) * (x.ndim - 1))
    u, w, a, b, c, d = columns
    x_0 = u * x + w * prediction
    state = a * x + b * x_0 + c * pred_x0
    return state if noise is None else state + d * noise, x_0


def solver_for(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return the solver that a pipeline's scheduler stands for.

    Raises ValueError for another scheduler, or one with options that make it another solver.
    """
    match scheduler:
        case DDIMScheduler():
            return ddim(scheduler, num_steps)
        case DPMSolverMultistepScheduler():
            return dpm_solver_2m(scheduler, num_steps)
        case EulerDiscreteScheduler() | EulerAncestralDiscreteScheduler():
            return euler(scheduler, num_steps)
        case LCMScheduler():
            return consistency(scheduler, num_steps)
        case FlowMatchEulerDiscreteScheduler():
            return flow_euler(scheduler, num_steps)
    raise ValueError(
        f"scheduler: got {type(scheduler).__name__}, allowed are DDIMScheduler, "
        "DPMSolverMultistepScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, "
        "LCMScheduler, FlowMatchEulerDiscreteScheduler"
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
    return _solver(t, *_pred_x0_weights(theirs.config.prediction_type, alpha, sigma), a, b)


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
    u, w = _pred_x0_weights(theirs.config.prediction_type, alpha[:-1], sigma[:-1])
    return _solver(theirs.timesteps, u, w, a, b, c)


def euler(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return Euler steps in sigma / alpha; the ancestral kind steps further down, and adds noise.

    Raises ValueError for options that make it another solver.
    """
    theirs = type(scheduler).from_config(scheduler.config)
    if theirs.config.get("final_sigmas_type", "zero") != "zero":
        got = theirs.config.final_sigmas_type
        raise ValueError(f"scheduler.final_sigmas_type: got {got!r}, allowed is 'zero'")
    theirs.set_timesteps(num_steps)
    noise = theirs.sigmas.double().numpy()
    alpha = 1 / np.sqrt(noise**2 + 1)
    now, after = noise[:-1], noise[1:]
    up = np.zeros_like(now)
    if isinstance(theirs, EulerAncestralDiscreteScheduler):
        up = np.sqrt(after**2 * (now**2 - after**2) / now**2)
    down = np.sqrt(after**2 - up**2)
    a = down / now * alpha[1:] / alpha[:-1]
    b = alpha[1:] * (1 - down / now)
    u, w = _pred_x0_weights(theirs.config.prediction_type, alpha[:-1], (noise * alpha)[:-1])
    start = float(theirs.init_noise_sigma * alpha[0])
    return _solver(theirs.timesteps, u, w, a, b, d=alpha[1:] * up, start=start)


def consistency(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return multistep consistency sampling: the predicted clean picture is noised anew at each
    step but the last.
    """
    theirs = LCMScheduler.from_config(scheduler.config, clip_sample=False, thresholding=False)
    theirs.set_timesteps(num_steps)
    t = theirs.timesteps
    alpha_bar = theirs.alphas_cumprod.double()
    alpha, sigma = alpha_bar[t].sqrt().numpy(), (1 - alpha_bar[t]).sqrt().numpy()
    skip, out = theirs.get_scalings_for_boundary_condition_discrete(t.double())
    skip, out = skip.numpy(), out.numpy()
    u, w = _pred_x0_weights(theirs.config.prediction_type, alpha, sigma)
    b, d = np.append(alpha[1:], 1.0), np.append(sigma[1:], 0.0)
    return _solver(t, skip + out * u, out * w, 0 * b, b, d=d)


def flow_euler(
    scheduler: SchedulerMixin,
    num_steps: int,
    sigmas: Sequence[float] | None = None,
    shift_mu: float | None = None,
) -> Solver:
    """Return Euler steps on a flow: x = (1 - sigma) x_0 + sigma noise, predicted a velocity.

    `sigmas`, before they are shifted, replace the scheduler's own; `shift_mu` is what one with
    dynamic shifting takes for latents of a size.
    """
    theirs = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    theirs.set_timesteps(None if sigmas else num_steps, sigmas=sigmas, mu=shift_mu)
    sigma = theirs.sigmas.double().numpy()
    a = sigma[1:] / sigma[:-1]
    return _solver(theirs.timesteps, np.ones_like(a), -sigma[:-1], a, 1 - a)


def _pred_x0_weights(prediction_type: str, alpha: Array, sigma: Array) -> tuple[Array, Array]:
    """Return u and w of x_0 = u x + w p, with x = alpha x_0 + sigma noise."""
    match prediction_type:
        case "epsilon":
            return 1 / alpha, -sigma / alpha
        case "v_prediction":
            return alpha, -sigma
    raise ValueError(f"prediction_type: got {prediction_type!r}, allowed are epsilon, v_prediction")


def _solver(
    timesteps: Tensor,
    u: Array,
    w: Array,
    a: Array,
    b: Array,
    c: Array | None = None,
    d: Array | None = None,
    start: float = 1.0,
) -> Solver:
    none = np.zeros_like(a)
    columns = u, w, a, b, none if c is None else c, none if d is None else d
    return Solver(timesteps, torch.from_numpy(np.stack(columns, axis=1)).float(), start)
