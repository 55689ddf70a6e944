"""What a call did not deliver is not counted as given, wherever the call has failed."""

from collections.abc import Callable
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline

from fairgen.ledger import Ledger
from fairgen.pipeline import FairGenPipeline
from tests.pipeline_options import adapters_for

DOCTOR, NURSE = "a photo of a doctor", "a photo of a nurse"


def fails_at(num_calls: int, error: BaseException) -> Callable[..., dict[str, Any]]:
    """Return a callback of one step that raises when it is called for that time."""
    calls: list[int] = []

    def callback(*_: object) -> dict[str, Any]:
        calls.append(len(calls))
        if len(calls) == num_calls:
            raise error
        return {}

    return callback


def counted(ledger: Ledger) -> list[int]:
    """Return how many pictures each changed stream of a recorded ledger holds."""
    return sorted(sum(found.counts) for found in ledger.changes().values() if found is not None)


@pytest.mark.parametrize("error", [RuntimeError("cut"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("prompts", "num_images", "batch_size", "fails_in"),
    [(DOCTOR, 4, 2, 2), (DOCTOR, 3, 1, 3), ([DOCTOR, NURSE], 2, 2, 2), ([DOCTOR, NURSE], 2, 1, 4)],
)
def test_a_call_that_fails_late_gives_all_of_its_pictures_back(
    pipe: StableDiffusionPipeline,
    prompts: Any,
    num_images: int,
    batch_size: int,
    fails_in: int,
    error: BaseException,
) -> None:
    ledger, options = Ledger(recorded=True), {"num_inference_steps": 1, "batch_size": batch_size}
    with FairGenPipeline(pipe, adapters_for(pipe), ledger=ledger) as fair:
        fair(DOCTOR, 1, **options)
        assert counted(ledger) == [1, 1, 1]  # of the prompt, of the person, of all
        with pytest.raises(type(error)):
            fair(prompts, num_images, callback_on_step_end=fails_at(fails_in, error), **options)
        assert set(counted(ledger)) <= {0, 1}
        seen = [record.categories["gender"] for record in fair(DOCTOR, 3, **options).records]
    assert counted(ledger) == [4, 4, 4] and len(set(seen)) == 2


def test_a_record_that_cannot_be_made_gives_its_picture_back(
    pipe: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("no record")

    ledger = Ledger(recorded=True)
    with FairGenPipeline(pipe, adapters_for(pipe), ledger=ledger) as fair:
        monkeypatch.setattr("fairgen.pipeline.foreign_signs", broken)
        with pytest.raises(RuntimeError, match="no record"):
            fair(DOCTOR, 2, num_inference_steps=1)
    assert set(counted(ledger)) == {0}
