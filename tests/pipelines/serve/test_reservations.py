"""What is on its way counts once: it is delivered, given back, or taken by the next try."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from fairgen.ledger import Ledger, stream_keys
from pipelines.serve.reservations import Reservations
from tests.fairgen.test_ledger import target_of

HALF = target_of(1, 1)
KEYS = stream_keys("a doctor", HALF, ("doctor", "all"))
TIMEOUT_S = 360.0


@dataclass
class World:
    """Reservations, and a clock that the test sets."""

    now: float = 1000.0
    ledger: Ledger = field(default_factory=Ledger)

    def __post_init__(self) -> None:
        self.reservations = Reservations(self.ledger, TIMEOUT_S, clock=lambda: self.now)

    def assign(self, num_images: int = 1, retry: str = "") -> tuple[str, list[int]]:
        name, reservation = self.reservations.assign(KEYS, HALF, num_images, retry)
        return name, list(reservation.cells)


def test_a_lost_picture_is_due_again_at_once() -> None:
    world = World()
    reservation, first = world.assign()
    world.reservations.settle(reservation, [0])
    assert world.assign()[1] == first


def test_a_delivered_picture_counts() -> None:
    world = World()
    reservation, first = world.assign()
    world.reservations.settle(reservation, [])
    assert world.assign()[1] != first


def test_of_a_request_only_what_is_lost_is_given_back() -> None:
    world = World()
    reservation, cells = world.assign(5)
    world.reservations.settle(reservation, [1, 2])
    delivered = [cell for index, cell in enumerate(cells) if index not in (1, 2)]
    delivered += world.assign(3)[1]
    assert sorted((delivered.count(0), delivered.count(1))) == [3, 3]


def test_a_next_try_takes_the_cells_of_the_lost_one_and_counts_once() -> None:
    world = World()
    reservation, cells = world.assign(3, retry="body")
    world.reservations.settle(reservation, [0, 1, 2])
    again, found = world.reservations.repeat("body") or ("", None)
    assert again == reservation and found is not None and list(found.cells) == cells
    world.reservations.settle(again, [])
    delivered = cells + world.assign(3)[1]
    assert (delivered.count(0), delivered.count(1)) == (3, 3)


def test_a_lost_picture_waits_half_a_minute_for_its_client() -> None:
    world = World()
    reservation, cells = world.assign(1, retry="body")
    world.reservations.settle(reservation, [0])
    world.now += 29
    assert world.assign(1, retry="another")[1] != cells
    world.now += 2
    assert world.reservations.repeat("body") is None
    assert world.assign(1, retry="a third")[1] == cells


def test_a_next_try_after_the_answer_shows_the_same_and_counts_nothing() -> None:
    world = World()
    reservation, cells = world.assign(1, retry="body")
    world.reservations.settle(reservation, [])
    for _ in range(3):
        again, found = world.reservations.repeat("body") or ("", None)
        assert found is not None and list(found.cells) == cells
        world.reservations.settle(again, [0])
    assert world.assign()[1] != cells
    world.now += 601
    assert world.reservations.repeat("body") is None


def test_of_tries_that_are_alike_the_lost_one_is_repeated() -> None:
    world = World()
    done, _ = world.assign(1, retry="body")
    world.reservations.settle(done, [])
    lost, _ = world.assign(1, retry="body")
    world.reservations.settle(lost, [0])
    running, _ = world.assign(1, retry="body")
    for expected in (lost, running):
        name, _ = world.reservations.repeat("body") or ("", None)
        assert name == expected
        world.reservations.settle(name, [])
        world.reservations.settle(name, [])


def test_two_tries_at_once_are_lost_only_when_both_are() -> None:
    world = World()
    reservation, cells = world.assign(1, retry="body")
    assert world.reservations.repeat("body")
    world.reservations.settle(reservation, [0])
    world.reservations.settle(reservation, [])
    world.now += 60
    assert world.assign()[1] != cells


@pytest.mark.parametrize("retry", ["", "body"])
def test_what_nothing_is_heard_of_is_given_back(retry: str) -> None:
    world = World()
    _, cells = world.assign(1, retry=retry)
    world.now += TIMEOUT_S - 1
    assert world.assign()[1] != cells
    world.now += 2
    _, third = world.assign()
    assert third == cells


def test_a_request_that_is_settled_twice_or_is_unknown_changes_nothing() -> None:
    world = World()
    reservation, cells = world.assign()
    world.reservations.settle(reservation, [])
    world.reservations.settle(reservation, [0])
    world.reservations.settle("unknown", [0])
    assert world.assign()[1] != cells


def test_a_name_that_is_known_returns_its_cells_again() -> None:
    world = World()
    _, first = world.reservations.assign(KEYS, HALF, 3, name="asked")
    assert world.reservations.assign(KEYS, HALF, 3, name="asked") == ("asked", first)
    assert sorted(Counter([*first.cells, *world.assign(3)[1]]).values()) == [3, 3]
