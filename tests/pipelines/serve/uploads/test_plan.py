"""Pictures to begin from are planned in turn, and sent once."""

import pickle

import pytest

from fairgen.sampling import TaylorSeer
from pipelines.recipe import GenerationConfig, TaylorSeerConfig
from pipelines.serve.image_plan import PlannedImage, Start, num_steps_taken, plan_images
from pipelines.serve.indicator import Assigned, Assignment
from pipelines.serve.schemas import EditRequest

SIZE = 64 * 64 * 3


def start(red: int, strength: float = 0.5) -> Start:
    return Start(64, 64, bytes([red]) * SIZE, None, strength, f"{red:064x}")


def planned(n: int, starts: list[Start], **asked: object) -> list[PlannedImage]:
    request = EditRequest(prompt="a", n=n, seed=7, num_inference_steps=10, **asked)
    assignment = Assignment([Assigned({}, 1.0)] * n, None, "a")
    generation = GenerationConfig(
        steps=20,
        guidance_scale=3.0,
        guidance_interval=(0.0, 0.5),
        taylorseer=TaylorSeerConfig(),
        batch_size=1,
    )
    return plan_images(request, assignment, generation, starts)


def test_each_picture_is_begun_from_as_often_and_in_order() -> None:
    plan = planned(6, [start(1), start(2), start(3)])
    assert [image.start.rgb[0] for image in plan if image.start] == [1, 1, 2, 2, 3, 3]
    assert [image.seed for image in plan] == [7, 8, 9, 10, 11, 12]
    assert {(image.width_px, image.height_px) for image in plan} == {(64, 64)}


def test_a_picture_is_sent_once_however_many_are_begun_from_it() -> None:
    one, many = (pickle.dumps(planned(n, [start(1)])) for n in (1, 16))
    assert SIZE < len(one) <= len(many) < 2 * SIZE


@pytest.mark.parametrize(
    ("num_steps", "strength", "taken"), [(10, 1.0, 10), (10, 0.55, 5), (10, 0.01, 1), (7, 0.3, 2)]
)
def test_an_edit_takes_as_many_steps_as_are_left(
    num_steps: int, strength: float, taken: int
) -> None:
    assert num_steps_taken(num_steps, strength) == taken


@pytest.mark.parametrize(
    ("strength", "shown_at"), [(1.0, (2, 5, 7)), (0.5, (1, 2, 3)), (0.2, (1,)), (0.1, ())]
)
def test_previews_are_spread_over_the_steps_that_are_taken(
    strength: float, shown_at: tuple[int, ...]
) -> None:
    (image,) = planned(1, [start(1, strength)], stream=True, partial_images=3)
    assert image.preview_at == shown_at


def test_all_steps_of_an_edit_are_guided_unless_it_says_otherwise() -> None:
    (edit,), (named,) = planned(1, [start(1)]), planned(1, [start(1)], guidance_interval=[0.1, 0.9])
    (painted,) = planned(1, [])
    assert (edit.guidance_interval, named.guidance_interval) == ((0.0, 1.0), (0.1, 0.9))
    assert painted.guidance_interval == (0.0, 0.5)


def test_no_step_of_an_edit_is_forecast_nor_of_a_request_that_forbids_it() -> None:
    (edit,), (painted,) = planned(1, [start(1)]), planned(1, [])
    (computed,) = planned(1, [], taylorseer=False)
    assert (edit.taylorseer, painted.taylorseer) == (None, TaylorSeer())
    assert computed.taylorseer is None
