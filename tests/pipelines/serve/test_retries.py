"""Tries that were refused: the next one repeats what they would have, if it comes in time."""

import pytest

from pipelines.serve import retries
from pipelines.serve.retries import Refusals, Retry

FIRST, NEXT = Retry("body", again=False), Retry("body", again=True)


def test_a_try_after_refused_ones_repeats_what_they_would_have() -> None:
    refusals = Refusals()
    assert refusals.followed_by(NEXT) == NEXT
    refusals.note(FIRST, 429)
    refusals.note(refusals.followed_by(NEXT), 503)
    assert refusals.followed_by(NEXT) == FIRST
    assert refusals.followed_by(NEXT) == NEXT
    refusals.note(NEXT, 429)  # one before it was lost
    assert refusals.followed_by(NEXT) == NEXT


def test_of_other_bodies_and_of_first_tries_nothing_is_changed() -> None:
    refusals, other = Refusals(), Retry("another", again=True)
    refusals.note(FIRST, 429)
    assert refusals.followed_by(other) == other
    assert refusals.followed_by(FIRST) == FIRST
    assert refusals.followed_by(None) is None
    assert refusals.followed_by(NEXT) == FIRST


@pytest.mark.parametrize(
    ("status", "retry"),
    [(400, FIRST), (401, FIRST), (429, Retry("body", True, "key")), (429, None)],
)
def test_after_others_no_client_tries_again_or_says_which_it_repeats(
    status: int, retry: Retry | None
) -> None:
    refusals = Refusals()
    refusals.note(retry, status)
    assert refusals.followed_by(NEXT) == NEXT


def test_who_comes_later_than_clients_do_repeats_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(retries.time, "monotonic", lambda: now)
    refusals = Refusals()
    refusals.note(FIRST, 429)
    now += 120
    assert refusals.followed_by(NEXT) == NEXT
