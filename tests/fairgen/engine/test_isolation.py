"""One bad item fails alone, each cause is logged once, and lack of memory makes batches small."""

import logging
from collections.abc import Sequence

import pytest

from fairgen.engine.isolation import Isolation


def test_the_item_at_fault_fails_alone_and_its_cause_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def act(items: Sequence[int]) -> list[int]:
        if 5 in items:
            raise RuntimeError("five is bad")
        return [10 * item for item in items]

    isolation = Isolation("multiplied")
    for _ in range(2):
        outcomes = isolation.run(act, list(range(8)))
        assert [o.result for o in outcomes] == [0, 10, 20, 30, 40, None, 60, 70]
        assert [o.error for o in outcomes if o.error] == ["five is bad"]
    assert [r.getMessage() for r in caplog.records] == ["8 pictures could not be multiplied"]
    assert caplog.records[0].exc_info is not None
    assert isolation.num_failed == 8  # 8, 4, 2 and 1 items, twice


def test_memory_that_runs_out_halves_later_batches(caplog: pytest.LogCaptureFixture) -> None:
    sizes: list[int] = []

    def act(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        if len(items) > 3:
            raise MemoryError
        return items

    isolation = Isolation("held")
    assert [o.result for o in isolation.run(act, range(8))] == list(range(8))
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    sizes.clear()
    isolation.run(act, range(8))
    assert sizes == [2, 2, 2, 2]
    assert any("at most 2 from now on" in record.getMessage() for record in caplog.records)
    assert logging.WARNING in {record.levelno for record in caplog.records}
