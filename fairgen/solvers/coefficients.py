"""The coefficients of diffusers' schedulers, in the form of `Solver`.

States are of the variance-preserving kind, x = alpha x_0 + sigma n with alpha^2 + sigma^2 = 1, or
of a flow; a solver that knows sigma / alpha only is rewritten.
Sources: DDIM, arXiv 2010.02502, equation 12 with sigma = 0; DDPM, arXiv 2006.11239, algorithm 2;
DPM-Solver++ (2M) and its SDE, arXiv 2211.01095, algorithm 2; Euler and its ancestral kind, arXiv
2206.00364, algorithm 2, as k-diffusion takes them; multistep consistency sampling, arXiv
2310.04378, algorithm 1; UniPC, arXiv 2302.04867, algorithms 5 and 6; Euler on rectified flow, arXiv
2209.03003; TrigFlow, arXiv 2410.11081, section 3.1.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    LCMScheduler,
    SchedulerMixin,
    SCMScheduler,
    UniPCMultistepScheduler,
)
from numpy.typing import NDArray
from torch import Tensor

from fairgen.sampling import most_steps
from fairgen.solvers.saved_fields import (
    FLOW_SCHEDULERS,
    OTHER_FLOW_SCHEDULERS,
    PREDICTIONS,
    check_scheduler,
)
from fairgen.solvers.solver import Solver

Array = NDArray[np.float64]


def solver_for(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return the solver that a pipeline's scheduler stands for.

    The scheduler is left as it is. Raises ValueError for another one, for options that make it
    another solver, and for a number of steps that it cannot take.
    """
    check_scheduler(scheduler)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return flow_euler(scheduler, num_steps)
    _check_steps(scheduler, num_steps)
    if isinstance(scheduler, SCMScheduler):
        return _trigflow_consistency(scheduler, num_steps)
    theirs = copy.deepcopy(scheduler)  # a pipeline edits its scheduler's configuration in place
    theirs.set_timesteps(num_steps)
    if (found := len(theirs.timesteps)) > num_steps:  # the last one is below 0
        raise ValueError(
            f"num_steps: got {num_steps}, which {theirs.config.timestep_spacing} spacing rounds to "
            f"{found} steps: allowed is another number"
        )
    return _TABLES[type(theirs)](theirs)


def ddim(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return DDIM on a base model's noise schedule, spacing and prediction type: diffusers' own."""
    theirs = DDIMScheduler.from_config(scheduler.config, clip_sample=False, thresholding=False)
    theirs.set_timesteps(num_steps)
    return _ddim(theirs)


def first_order(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return steps of first order, without noise, at the noise levels that a scheduler of flows
    paints at: Euler's, whichever of `DPMSolverMultistepScheduler`, `UniPCMultistepScheduler` and
    the two consistency samplers it is.
    """
    if isinstance(scheduler, SCMScheduler):
        return _trigflow_euler(scheduler, num_steps)
    theirs = copy.deepcopy(scheduler)
    if isinstance(theirs, OTHER_FLOW_SCHEDULERS):
        check_scheduler(theirs)
        theirs.set_timesteps(num_steps)
        return _flow_euler(theirs)
    if isinstance(theirs, DPMSolverMultistepScheduler):
        theirs.register_to_config(solver_order=1, algorithm_type="dpmsolver++")
    return solver_for(theirs, num_steps)


def _ddim(theirs: DDIMScheduler) -> Solver:
    """Return the steps of a DDIM scheduler whose time steps are set."""
    t = theirs.timesteps
    before = t - theirs.config.num_train_timesteps // theirs.num_inference_steps
    alpha_bar = theirs.alphas_cumprod.double()
    _check_schedule(t, len(alpha_bar))
    now = alpha_bar[t]
    after = torch.where(before >= 0, alpha_bar[before.clamp(min=0)], theirs.final_alpha_cumprod)
    alpha, sigma = now.sqrt().numpy(), (1 - now).sqrt().numpy()
    alpha_after, sigma_after = after.sqrt().numpy(), (1 - after).sqrt().numpy()
    a = sigma_after / sigma
    b = alpha_after - alpha * a
    u, w = _pred_x0_weights(theirs.config.prediction_type, alpha, sigma)
    return _solver(t, (alpha, sigma), u, w, a, b)


def _ddpm(theirs: DDPMScheduler) -> Solver:
    """Return ancestral sampling, which draws each state from what is known of it."""
    t = theirs.timesteps
    alpha_bar = theirs.alphas_cumprod.double()
    _check_schedule(t, len(alpha_bar))
    now = alpha_bar[t].numpy()
    after = np.append(now[1:], 1.0)
    kept = now / after
    share = (1 - after) / (1 - now)
    variance = 1 - kept if theirs.config.variance_type == "fixed_large" else share * (1 - kept)
    a, b = np.sqrt(kept) * share, np.sqrt(after) * (1 - kept) / (1 - now)
    levels = np.sqrt(now), np.sqrt(1 - now)
    u, w = _pred_x0_weights(theirs.config.prediction_type, *levels)
    return _solver(t, levels, u, w, a, b, d=np.sqrt(variance) * (t.numpy() > 0))


def _check_schedule(timesteps: Tensor, num_known: int) -> None:
    """Raise ValueError for time steps past a schedule: `steps_offset` moves them up."""
    if (last := int(timesteps.max())) >= num_known:
        raise ValueError(
            f"num_steps: got {len(timesteps)}, allowed are fewer: time step {last} would be the "
            f"first, and {num_known - 1} is the last of the schedule"
        )


def _dpm_solver(theirs: DPMSolverMultistepScheduler) -> Solver:
    """Return DPM-Solver++, multistep, of first or second order, as an ODE or an SDE.

    Its first step is of first order, and so is its last one unless some noise is left after it.
    """
    config, noise = theirs.config, theirs.sigmas.double().numpy()
    num_steps = len(theirs.timesteps)
    alpha = 1 - noise if config.use_flow_sigmas else 1 / np.sqrt(noise**2 + 1)
    sigma = noise if config.use_flow_sigmas else noise * alpha
    with np.errstate(divide="ignore", invalid="ignore"):
        log_snr = np.log(alpha) - np.log(sigma)
        h = np.diff(log_snr)  # infinite where no noise is left
        decay, d = h, None
        if config.algorithm_type == "sde-dpmsolver++":
            decay, d = 2 * h, sigma[1:] * np.sqrt(-np.expm1(-2 * h))
        whole = -alpha[1:] * np.expm1(-decay)
        heun = alpha[1:] * (np.expm1(-decay) / decay + 1)
        a = sigma[1:] / sigma[:-1] * (1 if d is None else np.exp(-h))
    curve = 0.5 * whole if config.solver_type == "midpoint" else heun
    b, c = whole.copy(), np.zeros_like(whole)
    euler_at_end = (
        config.euler_at_final
        or config.final_sigmas_type == "zero"
        or (config.lower_order_final and num_steps < 15)
    )
    if config.solver_order == 2:
        for i in range(1, num_steps - euler_at_end):
            slope = curve[i] * h[i] / h[i - 1]
            b[i], c[i] = whole[i] + slope, -slope
    u, w = _pred_x0_weights(config.prediction_type, alpha[:-1], sigma[:-1], noise[:-1])
    return _solver(theirs.timesteps, (alpha[:-1], sigma[:-1]), u, w, a, b, c, d)


def _euler(theirs: EulerDiscreteScheduler | EulerAncestralDiscreteScheduler) -> Solver:
    """Return Euler steps in sigma / alpha; the ancestral kind steps further down, and adds noise.

    Between steps the state is of the variance-preserving kind; after the last one it is not scaled.
    """
    noise = theirs.sigmas.double().numpy()[: len(theirs.timesteps) + 1]
    alpha = 1 / np.sqrt(noise**2 + 1)
    scale = np.append(alpha[:-1], 1.0)
    now, after = noise[:-1], noise[1:]
    up = np.zeros_like(now)
    if isinstance(theirs, EulerAncestralDiscreteScheduler):
        up = np.sqrt(after**2 * (now**2 - after**2) / now**2)
    down = np.sqrt(after**2 - up**2)
    a = down / now * scale[1:] / scale[:-1]
    b = scale[1:] * (1 - down / now)
    levels = alpha[:-1], (noise * alpha)[:-1]
    u, w = _pred_x0_weights(theirs.config.prediction_type, *levels)
    start = float(theirs.init_noise_sigma * alpha[0])
    return _solver(theirs.timesteps, levels, u, w, a, b, d=scale[1:] * up, start=start)


def _consistency(theirs: LCMScheduler) -> Solver:
    """Return multistep consistency sampling: the predicted clean picture is noised anew at each
    step but the last.
    """
    t = theirs.timesteps
    alpha_bar = theirs.alphas_cumprod.double()
    alpha, sigma = alpha_bar[t].sqrt().numpy(), (1 - alpha_bar[t]).sqrt().numpy()
    skip, out = theirs.get_scalings_for_boundary_condition_discrete(t.double())
    skip, out = skip.numpy(), out.numpy()
    u, w = _pred_x0_weights(theirs.config.prediction_type, alpha, sigma)
    b, d = np.append(alpha[1:], 1.0), np.append(sigma[1:], 0.0)
    return _solver(t, (alpha, sigma), skip + out * u, out * w, 0 * b, b, d=d)


def _flow_consistency(theirs: FlowMatchLCMScheduler) -> Solver:
    """Return the same on a flow."""
    sigma = theirs.sigmas.double().numpy()
    now, after = sigma[:-1], sigma[1:]
    ones = np.ones_like(now)
    return _solver(theirs.timesteps, (1 - now, now), ones, -now, 0 * now, 1 - after, d=after)


def _unipc(theirs: UniPCMultistepScheduler) -> Solver:
    """Return UniPC on a flow, of first or second order: each state but the first is corrected with
    what is predicted at it, then the next one is predicted.

    Both are sums of the state and of the last three clean pictures, so they are one.
    """
    config, sigma = theirs.config, theirs.sigmas.double().numpy()
    alpha, num_steps = 1 - sigma, len(theirs.timesteps)
    at = np.arange(num_steps)
    is_second = np.minimum(np.minimum(at + 1, num_steps - at), config.solver_order) == 2
    with np.errstate(divide="ignore", invalid="ignore"):
        h = np.diff(np.log(alpha) - np.log(sigma))  # infinite where no noise is left
        ratio = -np.append(np.nan, h[:-1]) / h
        decay = np.expm1(-h)
        first = decay / -h - 1
        whole, slope = -alpha[1:] * decay, 0.5 * alpha[1:] * decay / ratio
        b_1, b_2 = first / decay, 2 * (first / -h - 0.5) / decay
    slope = np.where(is_second, slope, 0)
    a, b, c = sigma[1:] / sigma[:-1], whole + slope, -slope
    e = np.zeros_like(a)
    for i in range(1, num_steps):
        if i - 1 in config.disable_corrector:
            continue
        scale, older, newest = alpha[i] * decay[i - 1], 0.0, 0.5
        if is_second[i - 1]:
            rho = (b_1[i - 1] - b_2[i - 1]) / (1 - ratio[i - 1])
            older, newest = scale * (0.5 - rho) / ratio[i - 1], b_1[i - 1] - rho
        b[i] -= a[i] * scale * newest
        c[i] += a[i] * (scale * newest - older)
        e[i] = a[i] * older
    levels = alpha[:-1], sigma[:-1]
    return _solver(theirs.timesteps, levels, np.ones_like(a), -sigma[:-1], a, b, c, e=e)


def _trigflow_consistency(scheduler: SCMScheduler, num_steps: int) -> Solver:
    """Return multistep consistency sampling on states x = cos(t) x_0 + sin(t) noise, t in radians:
    the predicted clean picture is noised anew at each step but the last.
    """
    t, now, after = _trigflow_times(scheduler, num_steps)
    levels = np.cos(now), np.sin(now)
    none = np.zeros_like(now)
    return _solver(t, levels, levels[0], -levels[1], none, np.cos(after), d=np.sin(after))


def _trigflow_euler(scheduler: SCMScheduler, num_steps: int) -> Solver:
    """Return the same steps with the noise that the prediction implies in place of fresh noise."""
    t, now, after = _trigflow_times(scheduler, num_steps)
    levels = np.cos(now), np.sin(now)
    a = np.sin(after) / levels[1]
    return _solver(t, levels, levels[0], -levels[1], a, np.cos(after) - a * levels[0])


def _trigflow_times(scheduler: SCMScheduler, num_steps: int) -> tuple[Tensor, Array, Array]:
    """Return the time steps, and where each step begins and ends."""
    theirs = copy.deepcopy(scheduler)
    middle = {} if num_steps == 2 else {"intermediate_timesteps": None}  # it knows one for 2 only
    theirs.set_timesteps(num_steps, **middle)
    t = theirs.timesteps.double().numpy()
    return theirs.timesteps[:-1], t[:-1], t[1:]


_TABLES: Mapping[type[SchedulerMixin], Callable[..., Solver]] = MappingProxyType({
    DDIMScheduler: _ddim,
    DDPMScheduler: _ddpm,
    DPMSolverMultistepScheduler: _dpm_solver,
    EulerDiscreteScheduler: _euler,
    EulerAncestralDiscreteScheduler: _euler,
    LCMScheduler: _consistency,
    FlowMatchLCMScheduler: _flow_consistency,
    UniPCMultistepScheduler: _unipc,
})  # fmt: skip


def flow_euler(
    scheduler: SchedulerMixin,
    num_steps: int,
    sigmas: Sequence[float] | None = None,
    shift_mu: float | None = None,
) -> Solver:
    """Return Euler steps on a flow: x = (1 - sigma) x_0 + sigma noise, predicted a velocity.

    `sigmas`, before they are shifted, replace the scheduler's own; `shift_mu` is what one with
    dynamic shifting takes for latents of a size. Raises ValueError as `solver_for` does.
    """
    check_scheduler(scheduler, FLOW_SCHEDULERS)
    theirs = copy.deepcopy(scheduler)
    theirs.set_timesteps(None if sigmas else num_steps, sigmas=sigmas, mu=shift_mu)
    return _flow_euler(theirs)


def _flow_euler(theirs: SchedulerMixin) -> Solver:
    """Return Euler steps between the noise levels of a scheduler whose time steps are set."""
    sigma = theirs.sigmas.double().numpy()
    a = sigma[1:] / sigma[:-1]
    levels = 1 - sigma[:-1], sigma[:-1]
    return _solver(theirs.timesteps, levels, np.ones_like(a), -sigma[:-1], a, 1 - a)


def _check_steps(scheduler: SchedulerMixin, num_steps: int) -> None:
    """Raise ValueError for more steps than a scheduler's schedule has."""
    name = type(scheduler).__name__
    most = most_steps(name, scheduler.config)
    if most is not None and num_steps > most:
        raise ValueError(f"num_steps: got {num_steps}, allowed are at most {most} with {name}")


def _pred_x0_weights(
    prediction_type: str, alpha: Array, sigma: Array, noise: Array | None = None
) -> tuple[Array, Array]:
    """Return u and w of x_0 = u x + w p, with x = alpha x_0 + sigma noise.

    `noise` is what a scheduler that takes flows calls sigma.
    """
    match prediction_type:
        case "epsilon":
            with np.errstate(divide="ignore"):  # nothing of the picture is left: it is refused
                return 1 / alpha, -sigma / alpha
        case "v_prediction":
            return alpha, -sigma
        case "sample" | "original_sample":
            return np.zeros_like(alpha), np.ones_like(alpha)
        case "flow_prediction" if noise is not None:
            return np.ones_like(alpha), -noise
    raise ValueError(
        f"scheduler.prediction_type: got {prediction_type!r}, allowed are {', '.join(PREDICTIONS)}"
    )


def _solver(
    timesteps: Tensor,
    levels: tuple[Array, Array],
    u: Array,
    w: Array,
    a: Array,
    b: Array,
    c: Array | None = None,
    d: Array | None = None,
    e: Array | None = None,
    start: float = 1.0,
) -> Solver:
    none = np.zeros_like(a)
    columns = u, w, a, b, *(none if one is None else one for one in (c, e, d))
    table = torch.from_numpy(np.stack(columns, axis=1)).float()
    if not bool(table.isfinite().all()):
        raise ValueError(
            f"scheduler: got {len(timesteps)} steps of which one has no finite coefficients: "
            "allowed are noise levels that fall at each step and leave something of the picture"
        )
    return Solver(timesteps, table, torch.from_numpy(np.stack(levels, axis=1)).float(), start)
