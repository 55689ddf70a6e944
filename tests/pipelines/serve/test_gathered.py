"""Calls of the same time as one."""

import asyncio

import pytest

from pipelines.serve.gathered import Gathered


def test_what_comes_at_once_goes_in_one_list_and_what_comes_later_in_the_next() -> None:
    sent: list[list[int]] = []

    async def send(items: list[int]) -> None:
        sent.append(items)

    async def play() -> None:
        gathered = Gathered(send)
        await asyncio.gather(*(gathered.pass_on(item, 0.02) for item in range(5)))
        await gathered.pass_on(5, 0.02)

    asyncio.run(play())
    assert sent == [[0, 1, 2, 3, 4], [5]]


def test_what_can_wait_goes_along_with_what_cannot() -> None:
    sent: list[list[int]] = []

    async def send(items: list[int]) -> None:
        sent.append(items)

    async def play() -> None:
        gathered = Gathered(send)
        waits = asyncio.create_task(gathered.pass_on(1, 30.0))
        await asyncio.sleep(0.02)
        assert not sent
        await asyncio.gather(gathered.pass_on(2, 0.01), waits)
        await gathered.pass_on(3, 0.01)  # the first one's time is not up yet

    asyncio.run(asyncio.wait_for(play(), 10))
    assert sent == [[1, 2], [3]]


def test_all_of_a_list_that_fails_are_told_and_the_next_is_sent() -> None:
    sent: list[int] = []

    async def send(items: list[int]) -> None:
        if 13 in items:
            raise ValueError("not this one")
        sent.extend(items)

    async def play() -> None:
        gathered = Gathered(send)
        found = await asyncio.gather(
            *(gathered.pass_on(item, 0.02) for item in (1, 13)), return_exceptions=True
        )
        assert [type(error) for error in found] == [ValueError, ValueError]
        await gathered.pass_on(2, 0.02)

    asyncio.run(play())
    assert sent == [2]


def test_who_leaves_takes_nobody_along() -> None:
    sent: list[int] = []

    async def send(items: list[int]) -> None:
        sent.extend(items)

    async def play() -> None:
        gathered = Gathered(send)
        leaves, stays = (asyncio.create_task(gathered.pass_on(item, 0.05)) for item in (1, 2))
        await asyncio.sleep(0.01)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        await stays

    asyncio.run(play())
    assert sent == [1, 2]
