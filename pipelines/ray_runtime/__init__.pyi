from .collector import collect_rarely
from .failures import is_loss, reason_of
from .jobs import Verb, check_known, connect, describe_jobs, follow, submit
from .progress import ProgressView, open_progress_actor, watch
from .reservation import free_reservation, note_reservation
from .resumable import Step, actor_pool, results_key, run_steps
from .session import (
    check_jobs,
    check_jobs_here,
    check_shared,
    cluster_nodes,
    cluster_session,
    is_local,
    parallel_jobs,
)

__all__ = [
    "ProgressView",
    "Step",
    "Verb",
    "actor_pool",
    "check_jobs",
    "check_jobs_here",
    "check_known",
    "check_shared",
    "cluster_nodes",
    "cluster_session",
    "collect_rarely",
    "connect",
    "describe_jobs",
    "follow",
    "free_reservation",
    "is_local",
    "is_loss",
    "note_reservation",
    "open_progress_actor",
    "parallel_jobs",
    "reason_of",
    "results_key",
    "run_steps",
    "submit",
    "watch",
]
