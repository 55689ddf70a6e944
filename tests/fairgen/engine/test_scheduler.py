"""Callers share an engine's time: played with a clock of their own, on passes that cost what rows
cost.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from fairgen.engine import ImageJob, RequestHandle
from fairgen.engine.backlog import ScheduledImage
from fairgen.engine.scheduler import Scheduler

MAX_ROWS = 16
SMALL, LARGE = (12, 8, 8), (12, 16, 16)
ROWS = {SMALL: 2, LARGE: 8}  # of a guided picture


def on_cores(rows: int) -> float:
    return 0.005 + 0.01 * rows


def on_a_gpu(rows: int) -> float:
    return 0.025 if rows <= MAX_ROWS else 0.025 * rows / MAX_ROWS


@dataclass
class Client:
    """One who asks again `pause_s` after an answer: `size` pictures of a shape at once."""

    name: str
    shape: tuple[int, ...] = SMALL
    size: int = 1
    num_steps: int = 12
    pause_s: float = 0.02
    latencies: list[float] = field(default_factory=list)


def play(clients: list[Client], pass_s: Callable[[int], float], until_s: float) -> Counter[str]:
    """Return caller -> native rows and steps that it got; latencies are added to the clients."""
    scheduler, now, got = Scheduler(MAX_ROWS), 0.0, Counter[str]()
    asks = {client.name: 0.0 for client in clients}
    asked: dict[RequestHandle, tuple[Client, float]] = {}
    left: dict[RequestHandle, int] = {}
    while now < until_s:
        for client in clients:
            if asks.get(client.name, now + 1) <= now:
                handle = RequestHandle((ImageJob("a", 1),) * client.size, client.name)
                asked[handle], left[handle] = (client, asks.pop(client.name)), client.size
                scheduler.add(handle, [
                    ScheduledImage(handle, i, ROWS[client.shape], client.shape, client.num_steps)
                    for i in range(client.size)
                ])  # fmt: skip
        images = scheduler.next_pass()
        if not images:
            now = min(asks.values())
            continue
        assert len({image.shape for image in images}) == 1
        rows = sum(image.cost for image in images)
        assert rows <= MAX_ROWS
        now += pass_s(rows)
        scheduler.measured(images, pass_s(rows))
        scheduler.charge(images, pass_s(rows))
        for image in images:
            got[image.handle.caller] += image.cost
        ended = [image for image in images if not image.work]
        scheduler.backlog.drop(lambda image: not image.work)
        for image in ended:
            left[image.handle] -= 1
            if not left[image.handle]:
                client, began = asked.pop(image.handle)
                client.latencies.append(now - began)
                asks[client.name] = now + client.pause_s
    return got


def p95(client: Client) -> float:
    return float(np.quantile(client.latencies[1:], 0.95))


@pytest.mark.parametrize("pass_s", [on_cores, on_a_gpu])
@pytest.mark.parametrize(
    "greedy",
    [
        Client("greedy", LARGE, size=8, num_steps=30, pause_s=0),
        Client("greedy", SMALL, size=64, num_steps=100, pause_s=0),
    ],
    ids=["largest", "most"],
)
def test_small_requests_take_at_most_twice_as_long_beside_the_largest(
    pass_s: Callable[[int], float], greedy: Client
) -> None:
    alone, beside = Client("small"), Client("small")
    play([alone], pass_s, 60)
    play([beside, greedy], pass_s, 60)
    assert p95(beside) <= 2 * p95(alone)


def test_who_asks_now_and_then_hardly_waits() -> None:
    alone, beside = Client("small", pause_s=2), Client("small", pause_s=2)
    greedy = Client("greedy", SMALL, size=64, num_steps=100, pause_s=0)
    play([alone], on_cores, 60)
    play([beside, greedy], on_cores, 60)
    assert p95(beside) <= p95(alone) + on_cores(MAX_ROWS) + 0.01


@pytest.mark.parametrize("pass_s", [on_cores, on_a_gpu])
def test_callers_who_ask_all_the_time_get_the_same(pass_s: Callable[[int], float]) -> None:
    clients = [
        Client("one", size=1, pause_s=0),
        Client("many", size=64, pause_s=0),
        Client("long", size=16, num_steps=100, pause_s=0),
        Client("large", LARGE, size=4, pause_s=0),
    ]
    got = play(clients, pass_s, 120)
    total = sum(got.values())
    if pass_s is on_cores:  # rows are time; a GPU's passes have room that nobody else wants
        assert all(got[client.name] >= 0.8 / len(clients) * total for client in clients)
    whole = {c.name: play([Client(c.name, c.shape, c.size, c.num_steps, 0)], pass_s, 120)[c.name]
             for c in clients}  # fmt: skip
    assert all(got[c.name] >= 0.8 / len(clients) * whole[c.name] for c in clients)


def test_on_a_gpu_a_pass_is_shared_by_all_who_fit() -> None:
    clients = [Client("greedy", size=64, pause_s=0), Client("small", pause_s=0)]
    got = play(clients, on_a_gpu, 60)
    assert sum(got.values()) >= 0.9 * MAX_ROWS * 60 / on_a_gpu(MAX_ROWS)


def images_of(caller: str, size: int, shape: tuple[int, ...] = SMALL) -> list[ScheduledImage]:
    handle = RequestHandle((ImageJob("a", 1),) * size, caller)
    return [ScheduledImage(handle, index, ROWS[shape], shape, 12) for index in range(size)]


def test_a_picture_left_out_of_a_pass_goes_on_where_it_was() -> None:
    scheduler = Scheduler(MAX_ROWS)
    many = images_of("many", 8)
    scheduler.add(many[0].handle, many)
    for _ in range(2):
        assert scheduler.next_pass() == many
        scheduler.measured(many, on_cores(16))
        scheduler.charge(many, on_cores(16))
    (one,) = images_of("one", 1)
    scheduler.add(one.handle, [one])
    assert scheduler.next_pass() == [one]
    assert set(scheduler.backlog.running) == {*many, one}


def test_what_was_begun_and_left_out_is_bounded() -> None:
    scheduler = Scheduler(MAX_ROWS)
    for caller in range(200):
        images = images_of(str(caller), 8)
        scheduler.add(images[0].handle, images)
        chosen = scheduler.next_pass()
        assert chosen
        scheduler.measured(chosen, on_cores(sum(image.cost for image in chosen)))
        scheduler.charge(chosen, 5.0)
    assert len(scheduler.backlog.running) <= 5 * MAX_ROWS


def test_what_a_request_takes_is_known_before_it_is_queued() -> None:
    scheduler = Scheduler(MAX_ROWS)
    assert scheduler.seconds_until_done("a", images_of("a", 8)) is None
    queued = images_of("a", 8)
    scheduler.add(queued[0].handle, queued)
    scheduler.measured(scheduler.next_pass(), 60.0)  # the first pass warms up
    assert scheduler.seconds_until_done("a", images_of("a", 8)) is None
    scheduler.measured(scheduler.next_pass(), on_cores(16))
    alone = 12 * on_cores(16)
    assert scheduler.seconds_until_done("a", images_of("a", 8)) == pytest.approx(2 * alone)
    assert scheduler.seconds_until_done("b", images_of("b", 1)) == pytest.approx(2 * alone / 8)


def test_a_request_that_is_dropped_leaves_nothing_behind() -> None:
    scheduler = Scheduler(MAX_ROWS)
    for caller in range(1000):
        images = images_of(str(caller), 2)
        scheduler.add(images[0].handle, images)
        scheduler.charge(scheduler.next_pass(), 0.5)
        scheduler.backlog.drop(lambda image: True)
    assert scheduler.num_callers == 0 and not list(scheduler.backlog.images)
    assert not scheduler.next_pass() and len(scheduler.backlog.callers) <= 256


def test_names_made_up_for_each_request_win_nothing() -> None:
    many = [Client(f"name {index}", pause_s=1e9) for index in range(400)]
    greedy = Client("greedy", size=8, pause_s=0)
    scheduler, got = Scheduler(MAX_ROWS), Counter[str]()
    waiting = iter(many)
    for _ in range(600):
        for client in (greedy, next(waiting, greedy)):
            if scheduler.num_callers < 2:
                images = images_of(client.name, client.size)
                scheduler.add(images[0].handle, images)
        chosen = scheduler.next_pass()
        seconds = on_cores(sum(image.cost for image in chosen))
        scheduler.measured(chosen, seconds)
        scheduler.charge(chosen, seconds)
        scheduler.backlog.drop(lambda image: not image.work)
        for image in chosen:
            got["greedy" if image.handle.caller == "greedy" else "others"] += image.cost
    assert got["greedy"] >= 0.4 * sum(got.values())
