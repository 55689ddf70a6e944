"""Solvers by rows equal diffusers' schedulers, also with every row at another step."""

from collections.abc import Callable

import pytest
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
    PNDMScheduler,
    SchedulerMixin,
    SCMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from fairgen.solvers import Solver, advance, ddim, first_order, solver_for
from tests.families import FLOW_DPM

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PREDICTIONS = ("epsilon", "v_prediction")


def ddim_scheduler(**config: object) -> DDIMScheduler:
    return DDIMScheduler(**NOISE, clip_sample=False, steps_offset=1, **config)


SCHEDULERS: dict[str, Callable[[], SchedulerMixin]] = {
    f"ddim {prediction} {spacing}": lambda p=prediction, s=spacing, last=last: ddim_scheduler(
        prediction_type=p, timestep_spacing=s, set_alpha_to_one=last
    )
    for prediction in PREDICTIONS
    for spacing, last in (("leading", False), ("trailing", True), ("linspace", False))
} | {
    f"dpm {prediction} {options}": lambda p=prediction, o=options: DPMSolverMultistepScheduler(
        **NOISE, prediction_type=p, **o
    )
    for prediction in PREDICTIONS
    for options in (
        {},
        {"timestep_spacing": "trailing"},
        {"timestep_spacing": "leading", "steps_offset": 1},
        {"use_karras_sigmas": True},
    )
} | {
    f"{kind.__name__} {prediction} {options}": lambda k=kind, p=prediction, o=options: k(
        **NOISE, prediction_type=p, **o
    )
    for kind in (EulerDiscreteScheduler, EulerAncestralDiscreteScheduler)
    for prediction in PREDICTIONS
    for options in (
        {}, {"timestep_spacing": "trailing"}, {"timestep_spacing": "leading", "steps_offset": 1}
    )
} | {
    f"ddpm {prediction} {options}": lambda p=prediction, o=options: DDPMScheduler(
        **NOISE, clip_sample=False, prediction_type=p, **o
    )
    for prediction in PREDICTIONS
    for options in (
        {}, {"timestep_spacing": "trailing"}, {"steps_offset": 1, "variance_type": "fixed_large"}
    )
} | {
    "euler karras": lambda: EulerDiscreteScheduler(**NOISE, use_karras_sigmas=True),
    "lcm": lambda: LCMScheduler(**NOISE, clip_sample=False),
    "lcm v": lambda: LCMScheduler(**NOISE, clip_sample=False, prediction_type="v_prediction"),
    "flow": FlowMatchEulerDiscreteScheduler,
    "flow shifted": lambda: FlowMatchEulerDiscreteScheduler(shift=3.0),
    "dpm on a flow": lambda: DPMSolverMultistepScheduler(**FLOW_DPM),
    "sde on a flow": lambda: DPMSolverMultistepScheduler(
        **FLOW_DPM, algorithm_type="sde-dpmsolver++"
    ),
    "lcm on a flow": lambda: FlowMatchLCMScheduler(shift=3.0),
    "lcm on a flow, beta": lambda: FlowMatchLCMScheduler(shift_terminal=0.1, use_beta_sigmas=True),
} | {
    f"unipc {options}": lambda o=options: UniPCMultistepScheduler(**FLOW_DPM, **o)
    for options in (
        {}, {"solver_order": 1}, {"disable_corrector": [0, 2]}, {"shift_terminal": 0.1},
        {"final_sigmas_type": "sigma_min"},
    )
}  # fmt: skip


def prediction(x: Tensor, t: Tensor) -> Tensor:
    """A stand-in denoiser that depends on the state and the time step."""
    return torch.tanh(x + t.view(-1, 1, 1, 1) / 1000)


def noise(rows: int) -> Tensor:
    return torch.randn(rows, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("num_steps", [2, 7, 12, 50])
def test_a_trajectory_equals_diffusers(name: str, num_steps: int) -> None:
    theirs = SCHEDULERS[name]()
    ours = solver_for(SCHEDULERS[name](), num_steps)
    theirs.set_timesteps(num_steps)
    assert torch.equal(theirs.timesteps, ours.timesteps)
    x = noise(3) * getattr(theirs, "init_noise_sigma", 1.0)
    y = noise(3) * ours.start
    pred_x0 = older_x0 = torch.zeros_like(y)
    generators = [[torch.Generator().manual_seed(row) for row in range(3)] for _ in range(2)]
    for step_index, t in enumerate(theirs.timesteps):
        told = theirs.scale_model_input(x, t) if hasattr(theirs, "scale_model_input") else x
        options = {"generator": generators[0]} if ours.draws_noise(step_index) else {}
        x = theirs.step(prediction(told, t[None]), t, x, **options).prev_sample
        fresh = [torch.randn(x.shape[1:], generator=g) for g in generators[1]]
        table = ours.table[[step_index] * 3]
        predicted = prediction(y, t[None])
        y, clean = advance(table, predicted, y, pred_x0, torch.stack(fresh), older_x0)
        pred_x0, older_x0 = clean, pred_x0
    torch.testing.assert_close(y, x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sigma_data", [0.5, 1.0, 0.3])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 12])
def test_consistency_steps_on_trigflow_equal_diffusers(num_steps: int, sigma_data: float) -> None:
    """Theirs are of the deviation of data, ours of 1, and so are predictions."""
    theirs = SCMScheduler(sigma_data=sigma_data)
    ours = solver_for(theirs, num_steps)
    middle = {} if num_steps == 2 else {"intermediate_timesteps": None}
    theirs.set_timesteps(num_steps, **middle)
    assert torch.equal(theirs.timesteps[:-1], ours.timesteps)
    x, y = noise(3) * sigma_data, noise(3)
    pred_x0 = torch.zeros_like(y)
    generators = [[torch.Generator().manual_seed(row) for row in range(3)] for _ in range(2)]
    for step_index, t in enumerate(ours.timesteps):
        of_data = prediction(x / sigma_data, t[None]) * sigma_data
        x, clean = theirs.step(of_data, t, x, generator=generators[0], return_dict=False)
        fresh = torch.stack([torch.randn(x.shape[1:], generator=g) for g in generators[1]])
        table = ours.table[[step_index] * 3]
        y, pred_x0 = advance(table, prediction(y, t[None]), y, pred_x0, fresh)
        torch.testing.assert_close(pred_x0 * sigma_data, clean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(y * sigma_data, x, atol=1e-5, rtol=1e-5)


FLOWS: dict[str, tuple[Callable[[], SchedulerMixin], bool]] = {  # and whether it predicts TrigFlow
    "dpm": (lambda: DPMSolverMultistepScheduler(**FLOW_DPM), False),
    "sde": (
        lambda: DPMSolverMultistepScheduler(**FLOW_DPM, algorithm_type="sde-dpmsolver++"), False
    ),
    "unipc": (lambda: UniPCMultistepScheduler(**FLOW_DPM), False),
    "euler": (lambda: FlowMatchEulerDiscreteScheduler(shift=3.0), False),
    "lcm": (lambda: FlowMatchLCMScheduler(shift=3.0), False),
    "consistency": (SCMScheduler, True),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("num_steps", [2, 5, 20])
def test_steps_of_first_order_follow_a_straight_flow_at_the_levels_of_painting(
    name: str, num_steps: int
) -> None:
    """Where the prediction is right, each state is the picture and the first noise at its level."""
    make, is_trigflow = FLOWS[name]
    painting, ours = solver_for(make(), num_steps), first_order(make(), num_steps)
    assert torch.equal(painting.levels, ours.levels)
    assert torch.equal(painting.timesteps, ours.timesteps)
    assert not ours.table[:, 4:].any()  # neither an older step nor noise
    picture, first = noise(1) * 0.5, noise(2)[1:]
    x = ours.noised(picture, first, 0)
    for step_index in range(num_steps):
        signal, level = ours.levels[step_index].tolist()
        velocity = signal * first - level * picture if is_trigflow else first - picture
        x, clean = ours.step(velocity, x, x, torch.tensor([step_index]))
        torch.testing.assert_close(clean, picture, atol=1e-4, rtol=1e-4)
        expected = ours.noised(picture, first, step_index + 1)
        torch.testing.assert_close(x, expected, atol=1e-4, rtol=1e-4)


def alone(solver: Solver, x: Tensor) -> Tensor:
    pred_x0 = torch.zeros_like(x)
    for step_index, t in enumerate(solver.timesteps):
        x, pred_x0 = solver.step(
            prediction(x, t[None]), x, pred_x0, torch.full((len(x),), step_index)
        )
    return x


def test_a_step_that_adds_noise_is_not_taken_without() -> None:
    x = noise(1)
    for name in ("lcm", "EulerAncestralDiscreteScheduler epsilon {}"):
        with pytest.raises(ValueError, match="scheduler: got one that adds noise, allowed are"):
            solver_for(SCHEDULERS[name](), 4).step(x, x, x, torch.tensor([0]))


def test_rows_of_different_solvers_and_lengths_move_by_one_line() -> None:
    solvers = [solver_for(SCHEDULERS[name](), steps) for name, steps in (
        ("ddim epsilon leading", 9), ("dpm epsilon {}", 4), ("flow", 6), ("dpm epsilon {}", 12),
    )]  # fmt: skip
    start = noise(len(solvers))
    x, pred_x0 = start.clone(), torch.zeros_like(start)
    for turn in range(12):
        rows = [row for row, solver in enumerate(solvers) if turn < solver.num_steps]
        table = torch.stack([solvers[row].table[turn] for row in rows])
        t = torch.stack([solvers[row].timesteps[turn].float() for row in rows])
        x[rows], pred_x0[rows] = advance(table, prediction(x[rows], t), x[rows], pred_x0[rows])
    for row, solver in enumerate(solvers):
        torch.testing.assert_close(x[[row]], alone(solver, start[[row]]), atol=1e-5, rtol=1e-5)


def test_ddim_takes_the_noise_schedule_of_any_scheduler() -> None:
    dpm = DPMSolverMultistepScheduler(**NOISE, timestep_spacing="trailing")
    same = ddim_scheduler(timestep_spacing="trailing", set_alpha_to_one=True)
    torch.testing.assert_close(ddim(dpm, 10).table, ddim(same, 10).table)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (ddim_scheduler(prediction_type="other"), "prediction_type: got 'other', allowed are 'eps"),
        (DPMSolverMultistepScheduler(**NOISE, solver_order=3), "order: got 3, allowed are 1 and 2"),
        (PNDMScheduler(**NOISE), "got PNDMScheduler, allowed are DDIM"),
        (type("OtherDDIM", (DDIMScheduler,), {})(), "got OtherDDIM, allowed are DDIMScheduler"),
    ],
)
def test_another_solver_is_refused(scheduler: SchedulerMixin, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver_for(scheduler, 5)


@pytest.mark.parametrize(
    ("scheduler", "most"),
    [
        (EulerDiscreteScheduler(**NOISE), 1000),
        (LCMScheduler(**NOISE), 50),
        (SCMScheduler(num_train_timesteps=20), 20),
    ],
)
def test_more_steps_than_a_schedule_has_are_refused(scheduler: SchedulerMixin, most: int) -> None:
    assert solver_for(scheduler, most).num_steps == most
    with pytest.raises(ValueError, match=f"num_steps: got {most + 1}, allowed are at most {most} "):
        solver_for(scheduler, most + 1)


def test_steps_that_begin_above_the_schedule_are_refused() -> None:
    assert solver_for(ddim_scheduler(), 999).num_steps == 999
    with pytest.raises(ValueError, match="num_steps: got 1000, allowed are fewer: time step 1000"):
        solver_for(ddim_scheduler(), 1000)


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler])
def test_a_number_of_steps_that_rounds_to_one_more_is_refused(kind: type[SchedulerMixin]) -> None:
    """The step more is at time -1, which diffusers takes for the noisiest."""
    unclipped = {"clip_sample": False} if kind is DDIMScheduler else {}
    options = {"timestep_spacing": "trailing"} | unclipped
    theirs = kind(**NOISE, **options)
    theirs.set_timesteps(61)
    assert len(theirs.timesteps) == 62 and theirs.timesteps[-1] == -1
    with pytest.raises(ValueError, match="num_steps: got 61, which trailing spacing rounds to 62"):
        solver_for(kind(**NOISE, **options), 61)
    assert solver_for(kind(**NOISE, **options), 60).num_steps == 60


def test_steps_that_begin_with_nothing_of_the_picture_are_refused() -> None:
    """The noise that is predicted says nothing of the picture then; diffusers paints it black."""
    kind = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    assert solver_for(ddim_scheduler(**kind, prediction_type="v_prediction"), 4).num_steps == 4
    with pytest.raises(ValueError, match="rescale_betas_zero_snr: got True, allowed is False with"):
        solver_for(ddim_scheduler(**kind), 4)


def test_noise_levels_that_do_not_fall_are_refused() -> None:
    """Steps of no length have no coefficients; diffusers paints them black."""
    scheduler = DPMSolverMultistepScheduler(
        **NOISE, use_karras_sigmas=True, final_sigmas_type="sigma_min", solver_type="heun",
        lower_order_final=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match="scheduler: got 4 steps of which one has no finite coef"):
        solver_for(scheduler, 4)


def test_the_scheduler_of_a_pipeline_is_left_as_it_is() -> None:
    scheduler = DPMSolverMultistepScheduler(**NOISE)
    scheduler.set_timesteps(3)
    solver_for(scheduler, 7)
    assert len(scheduler.timesteps) == 3
