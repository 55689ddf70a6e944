"""Why something on a cluster failed, in a sentence."""

from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)

_LOSSES = (  # what was at work is gone, and nothing says that it was at fault
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    WorkerCrashedError,
)


def reason_of(error: BaseException) -> str:
    """Return what a worker has raised, or how it ended, without the way there: no traceback."""
    if (inner := _inner(error)) is not None:
        return reason_of(inner)
    text = str(error).strip()
    if isinstance(error, OutOfMemoryError):
        return (
            "memory ran out, and Ray ended a worker. Run fewer at once (a larger "
            "jobs.cpus_per_worker), smaller ones (discovery.num_rows, generation.batch_size), or "
            f"close what else runs there. {text.splitlines()[0] if text else ''}"
        ).strip()
    if isinstance(error, RayError) or "Traceback" in text:
        text = text.splitlines()[-1].strip() if text else ""
    return text or type(error).__name__


def is_loss(error: BaseException) -> bool:
    """Return whether processes were lost (for lack of memory, with a node), not a fault raised."""
    inner = _inner(error)
    return isinstance(error, _LOSSES) if inner is None else is_loss(inner)


def _inner(error: BaseException) -> BaseException | None:
    """Return the error that another one tells of."""
    for name in ("cause", "controller_failure"):
        if isinstance(inner := getattr(error, name, None), BaseException):
            return inner
    failures = getattr(error, "worker_failures", None)
    return failures[min(failures)] if failures else None
