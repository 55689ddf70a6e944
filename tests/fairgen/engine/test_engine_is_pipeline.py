"""What a saved scheduler says is followed by the engine, has no influence, or is refused by name
when the engine starts: every field of the schedulers that are taken, walked.

A field that diffusers adds fails `test_every_field_is_known`, until somebody decides.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchLCMScheduler,
    LCMScheduler,
    SchedulerMixin,
    SCMScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)

from fairgen.backbones import load_backbone
from fairgen.engine import Engine
from fairgen.solvers import SCHEDULER_FIELDS
from tests.families import FLOW_DPM, SIZE_PX, size_of, tiny
from tests.families.hidream import FULL
from tests.painted import assert_same, ours, theirs

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
Config = Mapping[str, Any]

# what every kind of diffusion scheduler says of its noise, with values that models are saved with
OF_NOISE: dict[str, list[Config]] = {
    "num_train_timesteps": [{"num_train_timesteps": 500}],
    "beta_start": [{"beta_start": 0.002}],
    "beta_end": [{"beta_end": 0.02}],
    "beta_schedule": [{"beta_schedule": "linear"}, {"beta_schedule": "squaredcos_cap_v2"}],
    "trained_betas": [{"trained_betas": np.linspace(0.001, 0.015, 1000).tolist()}],
    "prediction_type": [{"prediction_type": "v_prediction"}],
    "rescale_betas_zero_snr": [
        {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction",
         "timestep_spacing": "trailing"},
    ],
}  # fmt: skip
OF_SCHEDULE = {name: configs for name, configs in OF_NOISE.items() if name != "prediction_type"}
OF_SPACING: dict[str, list[Config]] = {
    "timestep_spacing": [{"timestep_spacing": s} for s in ("leading", "trailing", "linspace")],
    "steps_offset": [{"steps_offset": 1, "timestep_spacing": "leading"}],
}
OF_SIGMAS: dict[str, list[Config]] = {
    "use_karras_sigmas": [{"use_karras_sigmas": True}],
    "use_exponential_sigmas": [{"use_exponential_sigmas": True}],
    "use_beta_sigmas": [{"use_beta_sigmas": True}],
}
OF_THRESHOLDS: dict[str, list[Config]] = {
    "dynamic_thresholding_ratio": [{"dynamic_thresholding_ratio": 0.5}],
    "sample_max_value": [{"sample_max_value": 2.0}],
}
SAMPLE: list[Config] = [{"prediction_type": "sample"}]
FOLLOWED: dict[type[SchedulerMixin], dict[str, list[Config]]] = {
    DDIMScheduler: OF_NOISE | OF_SPACING | OF_THRESHOLDS | {
        "prediction_type": OF_NOISE["prediction_type"] + SAMPLE,
        "set_alpha_to_one": [{"set_alpha_to_one": False}],
        "clip_sample_range": [{"clip_sample_range": 0.1}],
    },
    DDPMScheduler: OF_NOISE | OF_SPACING | OF_THRESHOLDS | {
        "prediction_type": OF_NOISE["prediction_type"] + SAMPLE,
        "variance_type": [{"variance_type": "fixed_small_log"}, {"variance_type": "fixed_large"}],
        "clip_sample_range": [{"clip_sample_range": 0.1}],
    },
    DPMSolverMultistepScheduler: OF_NOISE | OF_SPACING | OF_SIGMAS | OF_THRESHOLDS | {
        "prediction_type": OF_NOISE["prediction_type"] + SAMPLE + [
            {"prediction_type": "flow_prediction", "use_flow_sigmas": True},
        ],
        "solver_order": [{"solver_order": 1}],
        "solver_type": [{"solver_type": "heun"}, {"solver_type": "bh2"}],
        "algorithm_type": [
            {"algorithm_type": "sde-dpmsolver++"},
            {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
            {"algorithm_type": "sde-dpmsolver++", "solver_order": 1},
            {"algorithm_type": "deis", "final_sigmas_type": "sigma_min"},
        ],
        "final_sigmas_type": [
            {"final_sigmas_type": "sigma_min"},
            {"final_sigmas_type": "sigma_min", "algorithm_type": "sde-dpmsolver++"},
        ],
        "lower_order_final": [{"final_sigmas_type": "sigma_min", "lower_order_final": False}],
        "euler_at_final": [
            {"final_sigmas_type": "sigma_min", "lower_order_final": False, "euler_at_final": True},
        ],
        "use_lu_lambdas": [{"use_lu_lambdas": True}],
        "use_flow_sigmas": [{"use_flow_sigmas": True}],
        "flow_shift": [
            {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0},
        ],
        "lambda_min_clipped": [{"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}],
        "use_dynamic_shifting": [{"use_dynamic_shifting": True}],
        "time_shift_type": [{"time_shift_type": "exponential", "use_dynamic_shifting": True}],
    },
    EulerDiscreteScheduler: OF_NOISE | OF_SPACING | OF_SIGMAS | {
        "prediction_type": OF_NOISE["prediction_type"] + SAMPLE + [
            {"prediction_type": "original_sample"},
        ],
        "interpolation_type": [{"interpolation_type": "log_linear"}],
        "sigma_min": [{"sigma_min": 0.1, "use_karras_sigmas": True}],
        "sigma_max": [{"sigma_max": 40.0, "use_exponential_sigmas": True}],
        "timestep_type": [{"timestep_type": "continuous", "prediction_type": "v_prediction"}],
        "final_sigmas_type": [{"final_sigmas_type": "sigma_min"}],
    },
    # on the cosine schedule diffusers takes the root of a rounding error below zero: black pictures
    EulerAncestralDiscreteScheduler: OF_NOISE | OF_SPACING | {
        "beta_schedule": [{"beta_schedule": "linear"}],
    },
    LCMScheduler: OF_NOISE | OF_SPACING | OF_THRESHOLDS | {
        "prediction_type": OF_NOISE["prediction_type"] + SAMPLE,
        "original_inference_steps": [{"original_inference_steps": 25}],
        "timestep_scaling": [{"timestep_scaling": 0.002}],
        "set_alpha_to_one": [{"set_alpha_to_one": False}],
        "clip_sample_range": [{"clip_sample_range": 0.1}],
    },
    FlowMatchEulerDiscreteScheduler: OF_SIGMAS | {
        "num_train_timesteps": [{"num_train_timesteps": 500}],
        "shift": [{"shift": 3.0}],
        "use_dynamic_shifting": [{"use_dynamic_shifting": True}],
        "base_shift": [{"use_dynamic_shifting": True, "base_shift": 1.0}],
        "max_shift": [{"use_dynamic_shifting": True, "max_shift": 9.0}],
        "base_image_seq_len": [{"use_dynamic_shifting": True, "base_image_seq_len": 8}],
        "max_image_seq_len": [{"use_dynamic_shifting": True, "max_image_seq_len": 300}],
        "shift_terminal": [{"shift_terminal": 0.1}],
        "time_shift_type": [
            {"use_dynamic_shifting": True, "time_shift_type": "linear", "base_shift": 2.0},
        ],
    },
    FlowMatchLCMScheduler: OF_SIGMAS | {
        "num_train_timesteps": [{"num_train_timesteps": 500}],
        "shift": [{"shift": 3.0}],
        "shift_terminal": [{"shift_terminal": 0.1}],
        "base_shift": [{"base_shift": 1.0}],
        "max_shift": [{"max_shift": 9.0}],
        "base_image_seq_len": [{"base_image_seq_len": 8}],
        "max_image_seq_len": [{"max_image_seq_len": 300}],
        "time_shift_type": [{"time_shift_type": "linear"}],
        "upscale_mode": [{"upscale_mode": "area"}],
    },
    UniPCMultistepScheduler: OF_SCHEDULE | OF_SPACING | OF_THRESHOLDS | {
        "rescale_betas_zero_snr": [{"rescale_betas_zero_snr": True}],
        "solver_order": [{"solver_order": 1}],
        "flow_shift": [{"flow_shift": 6.0}],
        "shift_terminal": [{"shift_terminal": 0.1}],
        "final_sigmas_type": [{"final_sigmas_type": "sigma_min"}],
        "disable_corrector": [{"disable_corrector": [0]}, {"disable_corrector": [1, 2]}],
        "time_shift_type": [{"time_shift_type": "linear"}],
        "sigma_min": [{"sigma_min": 0.1}],
        "sigma_max": [{"sigma_max": 0.9}],
    },
    SCMScheduler: {
        "num_train_timesteps": [{"num_train_timesteps": 500}],
        "sigma_data": [{"sigma_data": 1.0}, {"sigma_data": 0.25}],
    },
}  # fmt: skip
OTHER: dict[str, list[Config]] = {"prediction_type": [{"prediction_type": "other"}]}
REFUSED: dict[type[SchedulerMixin], dict[str, list[Config]]] = {
    DDIMScheduler: OTHER | {
        "clip_sample": [{"clip_sample": True}],
        "thresholding": [{"thresholding": True}],
    },
    DDPMScheduler: OTHER | {
        "clip_sample": [{"clip_sample": True}],
        "thresholding": [{"thresholding": True}],
        "variance_type": [
            {"variance_type": "fixed_large_log"}, {"variance_type": "learned"},
            {"variance_type": "learned_range"},
        ],
    },
    DPMSolverMultistepScheduler: OTHER | {
        "solver_order": [{"solver_order": 3}],
        "algorithm_type": [
            {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
            {"algorithm_type": "sde-dpmsolver", "final_sigmas_type": "sigma_min"},
        ],
        "thresholding": [{"thresholding": True}],
        "variance_type": [{"variance_type": "learned_range"}],
    },
    EulerDiscreteScheduler: OTHER,
    EulerAncestralDiscreteScheduler: {"prediction_type": [{"prediction_type": "sample"}]},
    LCMScheduler: OTHER | {
        "clip_sample": [{"clip_sample": True}],
        "thresholding": [{"thresholding": True}],
    },
    FlowMatchEulerDiscreteScheduler: {
        "invert_sigmas": [{"invert_sigmas": True}],
        "stochastic_sampling": [{"stochastic_sampling": True}],
    },
    FlowMatchLCMScheduler: {
        "invert_sigmas": [{"invert_sigmas": True}],
        "use_dynamic_shifting": [{"use_dynamic_shifting": True}],
        "scale_factors": [{"scale_factors": [0.5, 0.5, 0.5]}],
    },
    UniPCMultistepScheduler: {name: [{name: True}] for name in OF_SIGMAS} | {
        "prediction_type": [{"prediction_type": "epsilon"}],
        "use_flow_sigmas": [{"use_flow_sigmas": False}],
        "use_dynamic_shifting": [{"use_dynamic_shifting": True}],
        "solver_order": [{"solver_order": 3}],
        "solver_type": [{"solver_type": "bh1"}],
        "lower_order_final": [{"lower_order_final": False}],
        "predict_x0": [{"predict_x0": False}],
        "solver_p": [{"solver_p": "other"}],
        "thresholding": [{"thresholding": True}],
    },
    SCMScheduler: OTHER,
}  # fmt: skip


shared = cache(tiny)  # of a pipeline only the scheduler changes here


UNCLIPPED = (DDIMScheduler, DDPMScheduler, LCMScheduler)  # if they are asked


def with_scheduler(
    kind: type[SchedulerMixin], config: Config, flow: str | None = None
) -> DiffusionPipeline:
    """Return a tiny pipeline with a scheduler of a configuration, whatever it was built with; of
    the families that paint on flows it is `flow`.
    """
    family = flow or {
        FlowMatchEulerDiscreteScheduler: "FLUX.1 dev",
        FlowMatchLCMScheduler: "HiDream",
        UniPCMultistepScheduler: "HiDream",
        SCMScheduler: "SANA-Sprint",
    }.get(kind)
    if family is not None:
        pipe, saved = shared(family), FULL if kind is UniPCMultistepScheduler else {}
        pipe.scheduler = kind(**{**saved, **config})
        return pipe
    pipe = shared("SD 1.x")
    unclipped = {"clip_sample": False} if kind in UNCLIPPED else {}
    pipe.scheduler = kind(**{**NOISE, **unclipped, **config})
    return pipe


def walked(fields: Mapping[type, Mapping[str, list[Config]]]) -> Iterator[Any]:
    for kind, of_kind in fields.items():
        for field, configs in of_kind.items():
            for config in configs:
                yield pytest.param(kind, field, config, id=f"{kind.__name__} {config}"[:90])


@pytest.mark.parametrize("kind", SCHEDULER_FIELDS)
def test_every_field_is_known(kind: type[SchedulerMixin]) -> None:
    parameters = set(inspect.signature(kind.__init__).parameters) - {"self"}
    known = SCHEDULER_FIELDS[kind]
    assert parameters == known.names
    assert not known.followed & known.unused and not known.unused & known.allowed.keys()
    assert FOLLOWED[kind].keys() | REFUSED[kind].keys() == parameters
    assert REFUSED[kind].keys() == known.allowed.keys()


FLOW = FOLLOWED[FlowMatchEulerDiscreteScheduler]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "field", "config"), walked(FOLLOWED))
def test_a_scheduler_s_field_is_followed(
    kind: type[SchedulerMixin], field: str, config: Config
) -> None:
    pipe = with_scheduler(kind, config)
    assert_same(ours(pipe), theirs(pipe))


@pytest.mark.parametrize(
    ("kind", "field", "config"), walked({FlowMatchEulerDiscreteScheduler: FLOW})
)
def test_both_families_on_flows_follow_a_field(
    kind: type[SchedulerMixin], field: str, config: Config
) -> None:
    pipe = with_scheduler(kind, config, "SD 3.5")
    assert_same(ours(pipe), theirs(pipe))


OF_NO_FLOW = (*OF_SIGMAS, "use_lu_lambdas")  # levels of noise past 1
ON_FLOWS: dict[type[SchedulerMixin], dict[str, list[Config]]] = {
    DPMSolverMultistepScheduler: {
        field: [{**FLOW_DPM, **config} for config in configs]
        for field, configs in FOLLOWED[DPMSolverMultistepScheduler].items()
        if field not in OF_NO_FLOW
    },
    FlowMatchEulerDiscreteScheduler: {
        field: [config for config in configs if "use_dynamic_shifting" not in config]
        for field, configs in FLOW.items()
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "field", "config"), walked(ON_FLOWS))
def test_a_field_is_followed_on_a_flow_that_no_size_shifts(
    kind: type[SchedulerMixin], field: str, config: Config
) -> None:
    pipe = with_scheduler(kind, config, "SANA")
    assert_same(ours(pipe), theirs(pipe))


@pytest.mark.parametrize("field", OF_NO_FLOW)
def test_noise_levels_of_no_flow_are_refused_on_a_flow(field: str) -> None:
    """The pipeline paints one colour: it takes logarithms of what is below zero."""
    pipe = with_scheduler(DPMSolverMultistepScheduler, {**FLOW_DPM, field: True}, "SANA")
    assert theirs(pipe).std() == 0
    with pytest.raises(ValueError, match=rf"^scheduler\.{field}: got True, allowed is False with"):
        Engine(load_backbone(pipe, size_of(pipe)))


@pytest.mark.parametrize("family", ["SANA", "AuraFlow"])
def test_a_shift_by_size_is_refused_where_the_pipeline_names_no_size(family: str) -> None:
    pipe = with_scheduler(FlowMatchEulerDiscreteScheduler, {"use_dynamic_shifting": True}, family)
    with pytest.raises(ValueError, match="`mu` must be passed"):
        theirs(pipe)
    with pytest.raises(ValueError, match=r"^scheduler\.use_dynamic_shifting: got True, allowed is"):
        Engine(load_backbone(pipe, size_of(pipe)))


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7])
@pytest.mark.parametrize("family", ["SANA", "SANA-Sprint"])
def test_any_number_of_steps_on_a_flow_is_the_pipeline_s(family: str, num_steps: int) -> None:
    for guidance_scale in (1.0, 4.0):
        pipe = tiny(family)
        expected = theirs(pipe, num_inference_steps=num_steps, guidance_scale=guidance_scale)
        assert_same(ours(pipe, num_steps=num_steps, guidance_scale=guidance_scale), expected)


def test_a_field_that_only_the_pipeline_reads_is_followed() -> None:
    pipe = tiny("FLUX.1 dev")
    plain = theirs(pipe)
    pipe.scheduler.register_to_config(use_flow_sigmas=True)
    assert_same(ours(pipe), theirs(pipe))
    assert not np.array_equal(theirs(pipe), plain)


@pytest.mark.slow
@pytest.mark.parametrize("num_steps", [1, 14, 15, 16])
@pytest.mark.parametrize("lower_order_final", [False, True])
@pytest.mark.parametrize("euler_at_final", [False, True])
def test_the_last_steps_of_a_multistep_solver_are_the_pipeline_s(
    num_steps: int, lower_order_final: bool, euler_at_final: bool
) -> None:
    config = {"final_sigmas_type": "sigma_min", "lower_order_final": lower_order_final,
              "euler_at_final": euler_at_final}  # fmt: skip
    pipe = with_scheduler(DPMSolverMultistepScheduler, config)
    assert_same(ours(pipe, num_steps=num_steps), theirs(pipe, num_inference_steps=num_steps))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCHEDULER_FIELDS)
def test_the_fields_with_an_influence_are_the_followed_ones(kind: type[SchedulerMixin]) -> None:
    for field, configs in FOLLOWED[kind].items():
        pairs = [(config, {k: v for k, v in config.items() if k != field}) for config in configs]
        changed = [
            not np.array_equal(theirs(with_scheduler(kind, a)), theirs(with_scheduler(kind, b)))
            for a, b in pairs
        ]
        assert any(changed) == (field not in SCHEDULER_FIELDS[kind].unused), field


@pytest.mark.parametrize(("kind", "field", "config"), walked(REFUSED))
def test_what_is_not_followed_is_refused_before_any_picture_is_asked(
    kind: type[SchedulerMixin], field: str, config: Config
) -> None:
    pipe = with_scheduler(kind, config)
    backbone = load_backbone(pipe, size_of(pipe))
    with pytest.raises(ValueError, match=rf"^scheduler\.{field}: got .*, allowed (is|are) "):
        Engine(backbone)


@pytest.mark.parametrize(
    ("kind", "spacing"),
    [(DDIMScheduler, "trailing"), (DDIMScheduler, "linspace"), (LCMScheduler, "leading")],
)
def test_noise_that_says_nothing_of_the_picture_is_refused(
    kind: type[SchedulerMixin], spacing: str
) -> None:
    """The pipeline paints black: the first step divides by zero."""
    config = {"rescale_betas_zero_snr": True, "timestep_spacing": spacing}
    pipe = with_scheduler(kind, config)
    assert theirs(pipe).max() == 0
    with pytest.raises(
        ValueError, match=r"^scheduler\.rescale_betas_zero_snr: got True, allowed is"
    ):
        Engine(load_backbone(pipe, SIZE_PX))


def test_noise_from_below_the_end_of_the_schedule_is_followed() -> None:
    config = {"rescale_betas_zero_snr": True, "timestep_spacing": "leading"}
    pipe = with_scheduler(DDIMScheduler, config)
    assert_same(ours(pipe), theirs(pipe))


def test_what_a_pipeline_edits_of_its_scheduler_is_followed() -> None:
    """Stable Diffusion's sets `steps_offset` and `clip_sample`; `from_config` forgets it."""
    parts = {**tiny("SD 1.x").components, "scheduler": DDIMScheduler(**NOISE)}
    pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    assert pipe.scheduler.config.steps_offset == 1 and not pipe.scheduler.config.clip_sample
    assert DDIMScheduler.from_config(pipe.scheduler.config).config.steps_offset == 0
    assert_same(ours(pipe), theirs(pipe))
