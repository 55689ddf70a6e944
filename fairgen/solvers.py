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

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from diffusers import (
    ConfigMixin,
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


@dataclass(frozen=True)
class SavedFields:
    """What of a saved configuration, a scheduler's or a codec's, is followed when pictures are
    painted.

    `unused` has no influence on them, as long as `allowed` holds: the values of the fields that are
    followed at some of their values only.
    """

    followed: frozenset[str]
    unused: frozenset[str]
    allowed: Mapping[str, tuple[object, ...]] = field(default_factory=dict)

    def check(self, saved: ConfigMixin, part: str) -> None:
        """Raise ValueError that names the first field of a part which would not be followed: also
        one that nobody knows here, of another version of diffusers.
        """
        for name, values in self.allowed.items():
            if (got := saved.config[name]) not in values:
                allowed = " and ".join(map(repr, values))
                verb = "is" if len(values) == 1 else "are"
                raise ValueError(f"{part}.{name}: got {got!r}, allowed {verb} {allowed}")
        parameters = inspect.signature(type(saved).__init__).parameters
        for name in sorted(saved.config.keys() & parameters.keys() - self.names):
            default = parameters[name].default
            if (got := saved.config[name]) != default:
                raise ValueError(f"{part}.{name}: got {got!r}, allowed is {default!r}")

    @property
    def names(self) -> frozenset[str]:
        """Every field that is known."""
        return self.followed | self.unused | frozenset(self.allowed)


_NOISE = frozenset({
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas",
    "rescale_betas_zero_snr", "prediction_type",
})  # fmt: skip
_SPACING = frozenset({"timestep_spacing", "steps_offset"})
_SIGMAS = frozenset({"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"})
_THRESHOLD = frozenset({"dynamic_thresholding_ratio", "sample_max_value"})  # of `thresholding`
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_UNCLIPPED = MappingProxyType({
    "clip_sample": (False,), "thresholding": (False,), "prediction_type": _PREDICTIONS,
})  # fmt: skip
SCHEDULER_FIELDS: Mapping[type[SchedulerMixin], SavedFields] = MappingProxyType({
    DDIMScheduler: SavedFields(
        followed=_NOISE | _SPACING | {"set_alpha_to_one"},
        unused=_THRESHOLD | {"clip_sample_range"},
        allowed=_UNCLIPPED,
    ),
    DPMSolverMultistepScheduler: SavedFields(
        followed=_NOISE | _SPACING | _SIGMAS | {
            "solver_type", "lower_order_final", "euler_at_final", "use_lu_lambdas",
            "use_flow_sigmas", "flow_shift", "final_sigmas_type", "lambda_min_clipped",
        },
        unused=_THRESHOLD | {"use_dynamic_shifting", "time_shift_type"},
        allowed={
            "solver_order": (1, 2),
            "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
            "thresholding": (False,),
            "variance_type": (None,),
            "prediction_type": (*_PREDICTIONS, "flow_prediction"),
        },
    ),
    EulerDiscreteScheduler: SavedFields(
        followed=_NOISE | _SPACING | _SIGMAS | {
            "interpolation_type", "sigma_min", "sigma_max", "timestep_type", "final_sigmas_type",
        },
        unused=frozenset(),
        allowed={"prediction_type": (*_PREDICTIONS, "original_sample")},
    ),
    EulerAncestralDiscreteScheduler: SavedFields(
        followed=_NOISE | _SPACING,
        unused=frozenset(),
        allowed={"prediction_type": ("epsilon", "v_prediction")},
    ),
    LCMScheduler: SavedFields(
        followed=_NOISE | {"original_inference_steps", "timestep_scaling"},
        unused=_THRESHOLD | _SPACING | {"clip_sample_range", "set_alpha_to_one"},
        allowed=_UNCLIPPED,
    ),
    FlowMatchEulerDiscreteScheduler: SavedFields(
        followed=_SIGMAS | {
            "num_train_timesteps", "shift", "use_dynamic_shifting", "base_shift", "max_shift",
            "base_image_seq_len", "max_image_seq_len", "shift_terminal", "time_shift_type",
        },
        unused=frozenset(),
        allowed={"invert_sigmas": (False,), "stochastic_sampling": (False,)},
    ),
})  # fmt: skip
FLOW_SCHEDULERS = (FlowMatchEulerDiscreteScheduler,)
DIFFUSION_SCHEDULERS = tuple(kind for kind in SCHEDULER_FIELDS if kind not in FLOW_SCHEDULERS)


def check_scheduler(
    scheduler: SchedulerMixin, allowed: Sequence[type[SchedulerMixin]] = tuple(SCHEDULER_FIELDS)
) -> None:
    """Raise ValueError for a scheduler, or for a field of its configuration, that has no solver.

    A subclass may step otherwise, so it is another scheduler.
    """
    if type(scheduler) not in allowed:
        names = ", ".join(kind.__name__ for kind in allowed)
        verb = "is" if len(allowed) == 1 else "are"
        raise ValueError(f"scheduler: got {type(scheduler).__name__}, allowed {verb} {names}")
    SCHEDULER_FIELDS[type(scheduler)].check(scheduler, "scheduler")
    config = scheduler.config
    begins_at_end = isinstance(scheduler, LCMScheduler) or (
        isinstance(scheduler, DDIMScheduler) and config.timestep_spacing != "leading"
    )
    if begins_at_end and config.rescale_betas_zero_snr and config.prediction_type == "epsilon":
        raise ValueError(
            "scheduler.rescale_betas_zero_snr: got True, allowed is False with prediction_type "
            "'epsilon': the noise says nothing of the picture where nothing of it is left"
        )


def solver_for(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return the solver that a pipeline's scheduler stands for.

    The scheduler is left as it is. Raises ValueError for another one, for options that make it
    another solver, and for a number of steps that it cannot take.
    """
    check_scheduler(scheduler)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        return flow_euler(scheduler, num_steps)
    _check_steps(scheduler, num_steps)
    theirs = copy.deepcopy(scheduler)  # a pipeline edits its scheduler's configuration in place
    theirs.set_timesteps(num_steps)
    return _TABLES[type(theirs)](theirs)


def ddim(scheduler: SchedulerMixin, num_steps: int) -> Solver:
    """Return DDIM on a base model's noise schedule, spacing and prediction type: diffusers' own."""
    theirs = DDIMScheduler.from_config(scheduler.config, clip_sample=False, thresholding=False)
    theirs.set_timesteps(num_steps)
    return _ddim(theirs)


def _ddim(theirs: DDIMScheduler) -> Solver:
    """Return the steps of a DDIM scheduler whose time steps are set."""
    t = theirs.timesteps
    before = t - theirs.config.num_train_timesteps // theirs.num_inference_steps
    alpha_bar = theirs.alphas_cumprod.double()
    if int(t.max()) >= len(alpha_bar):  # `steps_offset` moves them up
        raise ValueError(
            f"num_steps: got {len(t)}, allowed are fewer: time step {int(t.max())} would be the "
            f"first, and {len(alpha_bar) - 1} is the last of the schedule"
        )
    now = alpha_bar[t]
    after = torch.where(before >= 0, alpha_bar[before.clamp(min=0)], theirs.final_alpha_cumprod)
    alpha, sigma = now.sqrt().numpy(), (1 - now).sqrt().numpy()
    alpha_after, sigma_after = after.sqrt().numpy(), (1 - after).sqrt().numpy()
    a = sigma_after / sigma
    b = alpha_after - alpha * a
    return _solver(t, *_pred_x0_weights(theirs.config.prediction_type, alpha, sigma), a, b)


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
    return _solver(theirs.timesteps, u, w, a, b, c, d)


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
    u, w = _pred_x0_weights(theirs.config.prediction_type, alpha[:-1], (noise * alpha)[:-1])
    start = float(theirs.init_noise_sigma * alpha[0])
    return _solver(theirs.timesteps, u, w, a, b, d=scale[1:] * up, start=start)


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
    return _solver(t, skip + out * u, out * w, 0 * b, b, d=d)


_TABLES: Mapping[type[SchedulerMixin], Callable[..., Solver]] = MappingProxyType({
    DDIMScheduler: _ddim,
    DPMSolverMultistepScheduler: _dpm_solver,
    EulerDiscreteScheduler: _euler,
    EulerAncestralDiscreteScheduler: _euler,
    LCMScheduler: _consistency,
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
    sigma = theirs.sigmas.double().numpy()
    a = sigma[1:] / sigma[:-1]
    return _solver(theirs.timesteps, np.ones_like(a), -sigma[:-1], a, 1 - a)


def _check_steps(scheduler: SchedulerMixin, num_steps: int) -> None:
    """Raise ValueError for more steps than a scheduler's schedule has."""
    most = scheduler.config.num_train_timesteps
    if isinstance(scheduler, LCMScheduler):
        most = min(most, scheduler.config.original_inference_steps)
    if num_steps > most:
        raise ValueError(
            f"num_steps: got {num_steps}, "
            f"allowed are at most {most} with {type(scheduler).__name__}"
        )


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
        f"scheduler.prediction_type: got {prediction_type!r}, allowed are {', '.join(_PREDICTIONS)}"
    )


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
    table = torch.from_numpy(np.stack(columns, axis=1)).float()
    if not bool(table.isfinite().all()):
        raise ValueError(
            f"scheduler: got {len(timesteps)} steps of which one has no finite coefficients: "
            "allowed are noise levels that fall at each step and leave something of the picture"
        )
    return Solver(timesteps, table, start)
