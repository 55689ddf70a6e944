"""An answer that is kept: asked for seldom, renewed beside requests."""

import asyncio
from collections.abc import Callable

import pytest

from pipelines.serve.kept_answer import KeptAnswer


class Counted:
    """Answers 1, 2, 3, ... after a while; or fails."""

    def __init__(self) -> None:
        self.num_asked, self.fails, self.takes_s = 0, False, 0.01

    async def __call__(self) -> int:
        self.num_asked += 1
        number = self.num_asked
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise ValueError("nobody answers")
        return number


def run(play: Callable[[Counted], object]) -> None:
    asyncio.run(play(Counted()))  # type: ignore[arg-type]


def test_many_at_once_ask_once() -> None:
    async def play(ask: Counted) -> None:
        kept = KeptAnswer(ask, fresh_s=10, hold_s=10)
        assert await asyncio.gather(*(kept.get() for _ in range(20))) == [1] * 20
        assert await kept.get() == 1 and ask.num_asked == 1

    run(play)


def test_what_holds_is_given_at_once_and_renewed_beside_it() -> None:
    async def play(ask: Counted) -> None:
        kept = KeptAnswer(ask, fresh_s=0.0, hold_s=10)
        assert await kept.get() == 1
        ask.takes_s = 0.2
        assert await asyncio.wait_for(kept.get(), 0.1) == 1
        await asyncio.sleep(0.4)
        assert await kept.get() == 2

    run(play)


def test_what_holds_no_more_is_waited_for() -> None:
    async def play(ask: Counted) -> None:
        kept = KeptAnswer(ask, fresh_s=0.0, hold_s=0.05)
        assert await kept.get() == 1
        await asyncio.sleep(0.1)
        assert await kept.get() == 2

    run(play)


def test_a_failure_is_raised_where_nothing_holds_and_asked_about_again() -> None:
    async def play(ask: Counted) -> None:
        ask.fails = True
        kept = KeptAnswer(ask, fresh_s=0.0, hold_s=10)
        for _ in range(2):
            with pytest.raises(ValueError, match="nobody answers"):
                await kept.get()
        ask.fails = False
        assert await kept.get() == 3
        ask.fails = True
        assert await kept.get() == 3  # what is known holds
        await asyncio.sleep(0.1)
        assert await kept.get() == 3

    run(play)


def test_a_caller_who_leaves_costs_the_others_nothing() -> None:
    async def play(ask: Counted) -> None:
        ask.takes_s = 0.2
        kept = KeptAnswer(ask, fresh_s=10, hold_s=10)
        first, second = (asyncio.ensure_future(kept.get()) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        assert await second == 1 and ask.num_asked == 1

    run(play)
