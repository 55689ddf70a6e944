"""Pictures are painted once each, wherever in their stream a replica is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from ray.exceptions import ActorDiedError

from pipelines.recipe import load_recipe
from pipelines.serve import recovery
from pipelines.serve.access.errors import RequestError
from pipelines.serve.image_plan import ImageUpdate, PlannedImage, plan_images
from pipelines.serve.indicator import Assigned, Assignment
from pipelines.serve.schemas import ImageRequest, Provenance

PICTURES, UPDATES = 3, 4  # an update says that the request is accepted


class Replica:
    """Paints what it is asked for, and dies after so many updates, the first times."""

    def __init__(self, *dies_after: int) -> None:
        self.dies_after, self.asked = list(dies_after), list[list[int]]()

    async def paint(self, orders: list[PlannedImage]) -> AsyncIterator[ImageUpdate]:
        assert orders, "nothing is asked for, which a generator refuses"
        self.asked.append([order.index for order in orders])
        left = self.dies_after.pop(0) if self.dies_after else UPDATES + 1
        for update in [ImageUpdate(orders[0].index, b""), *(finished(o) for o in orders)]:
            if left == 0:
                raise ActorDiedError
            left -= 1
            yield update
        if left == 0:
            raise ActorDiedError


def finished(order: PlannedImage) -> ImageUpdate:
    made = Provenance(
        model="m", prompt=order.prompt, seed=order.seed, num_inference_steps=order.num_steps,
        guidance_scale=order.guidance_scale, categories={}, probability=1.0, adapters=(), gate=None,
    )  # fmt: skip
    return ImageUpdate(order.index, b"png", provenance=made)


def seeds(replica: Replica) -> list[int]:
    request = ImageRequest(prompt="a doctor", n=PICTURES, seed=7)
    assignment = Assignment([Assigned({}, 1.0)] * PICTURES, None, "a doctor")
    plan = plan_images(request, assignment, load_recipe("portraits").generation)

    async def painted() -> list[int]:
        updates = recovery.all_painted(plan, replica.paint)
        return [u.provenance.seed async for u in updates if u.provenance is not None]

    return asyncio.run(painted())


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "pause_s", lambda attempt: 0.0)


@pytest.mark.parametrize("died_after", range(UPDATES + 1))
def test_each_picture_is_painted_once_wherever_the_replica_dies(died_after: int) -> None:
    assert seeds(Replica(died_after)) == [7, 8, 9]


def test_only_what_is_left_is_ordered_again() -> None:
    replica = Replica(2, 0, 2)
    assert seeds(replica) == [7, 8, 9]
    assert replica.asked == [[0, 1, 2], [1, 2], [1, 2], [2]]


def test_a_generator_that_stays_away_is_said() -> None:
    with pytest.raises(RequestError, match="no generator is up") as raised:
        seeds(Replica(*[0] * 100))
    assert raised.value.status == 503
