"""Why a worker failed is one sentence, whatever has wrapped it."""

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError
from ray.train import TrainingFailedError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from pipelines.ray_runtime.failures import is_loss, reason_of

TRACEBACK = "Traceback (most recent call last):\n  File x\nValueError: steps: got 0"


def raised_in_a_task(cause: Exception) -> Exception:
    return RayTaskError("paint", TRACEBACK, cause, "worker", 1, "127.0.0.1").as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("steps: got 0"), "steps: got 0"),
        (ValueError(), "ValueError"),
        (raised_in_a_task(ValueError("steps: got 0")), "steps: got 0"),
        (WorkerGroupError(TRACEBACK, {1: ValueError("one"), 0: ValueError("zero")}), "zero"),
        (ControllerError(raised_in_a_task(OSError("no space left"))), "no space left"),
        (TrainingFailedError(TRACEBACK), "ValueError: steps: got 0"),
        (ActorDiedError(), str(ActorDiedError()).splitlines()[-1].strip()),
    ],
)
def test_the_reason_is_what_was_raised_first(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_worker_that_memory_has_ended_says_what_to_do() -> None:
    failed = WorkerGroupError("", {0: OutOfMemoryError("Task was killed\nMemory: 15 GB of 16")})
    assert "memory ran out" in reason_of(failed) and "discovery.num_rows" in reason_of(failed)
    assert "Task was killed" in reason_of(failed) and "\n" not in reason_of(failed)


@pytest.mark.parametrize(
    ("error", "is_lost"),
    [
        (OutOfMemoryError("Task was killed"), True),
        (ControllerError(ActorDiedError()), True),
        (WorkerGroupError("", {0: WorkerCrashedError()}), True),
        (ControllerError(ValueError("steps: got 0")), False),
        (raised_in_a_task(ValueError("steps: got 0")), False),
        (WorkerGroupError("", {0: FloatingPointError("update 3")}), False),
    ],
)
def test_a_loss_is_no_fault_that_was_raised(error: Exception, is_lost: bool) -> None:
    assert is_loss(error) == is_lost
