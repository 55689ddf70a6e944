"""What of a saved configuration is followed: field by field, so that none is passed over."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from diffusers import (
    ConfigMixin,
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
PREDICTIONS = ("epsilon", "v_prediction", "sample")
_UNCLIPPED = MappingProxyType({
    "clip_sample": (False,), "thresholding": (False,), "prediction_type": PREDICTIONS,
})  # fmt: skip
SCHEDULER_FIELDS: Mapping[type[SchedulerMixin], SavedFields] = MappingProxyType({
    DDIMScheduler: SavedFields(
        followed=_NOISE | _SPACING | {"set_alpha_to_one"},
        unused=_THRESHOLD | {"clip_sample_range"},
        allowed=_UNCLIPPED,
    ),
    DDPMScheduler: SavedFields(
        followed=_NOISE | _SPACING | {"variance_type"},
        unused=_THRESHOLD | {"clip_sample_range"},
        allowed={
            **_UNCLIPPED, "variance_type": ("fixed_small", "fixed_small_log", "fixed_large"),
        },
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
            "prediction_type": (*PREDICTIONS, "flow_prediction"),
        },
    ),
    EulerDiscreteScheduler: SavedFields(
        followed=_NOISE | _SPACING | _SIGMAS | {
            "interpolation_type", "sigma_min", "sigma_max", "timestep_type", "final_sigmas_type",
        },
        unused=frozenset(),
        allowed={"prediction_type": (*PREDICTIONS, "original_sample")},
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
    FlowMatchLCMScheduler: SavedFields(
        followed=_SIGMAS | {"num_train_timesteps", "shift", "shift_terminal"},
        unused=frozenset({
            "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len",
            "time_shift_type", "upscale_mode",
        }),
        allowed={
            "invert_sigmas": (False,), "use_dynamic_shifting": (False,), "scale_factors": (None,),
        },
    ),
    UniPCMultistepScheduler: SavedFields(
        followed=frozenset({
            "num_train_timesteps", "disable_corrector", "flow_shift", "final_sigmas_type",
            "shift_terminal",
        }),
        unused=_THRESHOLD | _SPACING | {
            "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
            "time_shift_type", "sigma_min", "sigma_max",
        },
        allowed={
            "prediction_type": ("flow_prediction",),
            "use_flow_sigmas": (True,),
            "use_dynamic_shifting": (False,),
            "solver_order": (1, 2),
            "solver_type": ("bh2",),
            "lower_order_final": (True,),
            "predict_x0": (True,),
            "solver_p": (None,),
            "thresholding": (False,),
            **dict.fromkeys(sorted(_SIGMAS), (False,)),
        },
    ),
    SCMScheduler: SavedFields(  # `sigma_data` scales states and predictions alike: it cancels out
        followed=frozenset(),
        unused=frozenset({"num_train_timesteps", "sigma_data"}),
        allowed={"prediction_type": ("trigflow",)},
    ),
})  # fmt: skip
FLOW_SCHEDULERS = (FlowMatchEulerDiscreteScheduler,)
OTHER_FLOW_SCHEDULERS = (FlowMatchLCMScheduler, UniPCMultistepScheduler)
TRIGFLOW_SCHEDULERS = (SCMScheduler,)
DIFFUSION_SCHEDULERS = tuple(
    kind
    for kind in SCHEDULER_FIELDS
    if kind not in (*FLOW_SCHEDULERS, *OTHER_FLOW_SCHEDULERS, *TRIGFLOW_SCHEDULERS)
)


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
    for name in (*_SIGMAS, "use_lu_lambdas") if config.get("use_flow_sigmas") else ():
        if config.get(name):  # they are levels of no flow: they go past 1
            raise ValueError(
                f"scheduler.{name}: got True, allowed is False with use_flow_sigmas, whose noise "
                "levels it replaces"
            )
    begins_at_end = isinstance(scheduler, LCMScheduler) or (
        isinstance(scheduler, DDIMScheduler) and config.timestep_spacing != "leading"
    )
    if begins_at_end and config.rescale_betas_zero_snr and config.prediction_type == "epsilon":
        raise ValueError(
            "scheduler.rescale_betas_zero_snr: got True, allowed is False with prediction_type "
            "'epsilon': the noise says nothing of the picture where nothing of it is left"
        )
