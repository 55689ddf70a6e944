"""A Ray cluster for the length of a run: the one named by RAY_ADDRESS, or a local one that stops
with the run.
"""

import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.recipe import JobsConfig

Resources = Mapping[str, float]
_LOCAL = "local"

RAY_SETTINGS = {
    "RAY_worker_niceness": "0",  # the default of 15 starves workers on a busy machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # who is given no GPU sees none
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # one report a worker is taken at every health check: at the default of 2 s training waits
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    # a request's hops share one event loop a process: the parts of the endpoint block none
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # by Ray's own calls the parts of the endpoint hear of each other later
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),  # by default 4 MiB: a large PNG
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": (
        "pipelines.serve.access.connections:bound_connections"
    ),
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "pipelines.ray_runtime.collector.collect_rarely",
}


@contextmanager
def cluster_session() -> Iterator[None]:
    """Join the cluster of RAY_ADDRESS, or start a local one and stop it at the end; an open session
    is joined.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    local = {}
    if is_local():
        _provide_token()
        local = {"include_dashboard": False}
    with _on_loopback() if local else nullcontext():
        address = os.environ.get("RAY_ADDRESS", _LOCAL)
        on_term = signal.getsignal(signal.SIGTERM)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **local)
        if on_term is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)  # Ray has set its own
    try:
        yield
    finally:
        ray.shutdown()


def is_local() -> bool:
    """Return whether a session's cluster is one that starts with it, without a dashboard."""
    return os.environ.get("RAY_ADDRESS", _LOCAL) == _LOCAL


def check_shared(home: Path) -> None:
    """Raise ValueError where the open cluster has several hosts, and not all of them see what is
    written to `home` here, or no registry is named that all of them reach.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}
    if len(nodes) == 1:
        return
    if "MLFLOW_TRACKING_URI" not in os.environ:
        raise ValueError(
            f"MLFLOW_TRACKING_URI: got none on a cluster of {len(nodes)} hosts; allowed is the "
            "address of an MLflow server that all of them reach"
        )
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="seen-by-all-", dir=home.resolve()) as marker:
        look = ray.remote(_exists)
        seen = {
            host: look.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(marker.name)
            for host, node in nodes.items()
        }
        blind = sorted(host for host, found in seen.items() if not ray.get(found))
    if blind:
        raise ValueError(
            f"FAIRGEN_HOME: got {home.resolve()}, which {blind} do not see; allowed is a folder on "
            "storage that all nodes share"
        )


def _exists(path: str) -> bool:
    return Path(path).exists()


def _provide_token() -> None:
    """Give a local cluster a token for its life: other users of this machine reach its ports.

    Ray asks for one unless RAY_AUTH_MODE says otherwise; a user's own token goes before ours.
    """
    own = "RAY_AUTH_TOKEN_PATH" in os.environ or (Path.home() / ".ray" / "auth_token").exists()
    if not own:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a cluster that starts within listen on 127.0.0.1 only, its pages of figures included.

    Ray does so by itself on desktops, whose firewalls would ask; on Linux it takes the address of a
    network card, whatever `_node_ip_address` says, and listens on all of them. Its switch is an
    environment variable that is read when Ray is imported.
    """
    from ray._private import ray_constants

    switch, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    if switch in os.environ:  # the user has said it
        yield
        return
    os.environ[switch], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        del os.environ[switch]
        ray_constants.ENABLE_RAY_CLUSTER = before


def check_jobs(jobs: "JobsConfig", nodes: Sequence[Resources], gpus: float) -> None:
    """Raise ValueError for training jobs that would wait for ever on nodes that stay as they are:
    every worker needs room on one node, and takes so many `gpus`.
    """
    num_workers, cpus = jobs.num_workers, jobs.cpus_per_worker
    asked = {name: share for name, share in (("CPU", cpus), ("GPU", gpus)) if share}

    def held(node: Resources) -> int:
        return int(min(node.get(name, 0) / share for name, share in asked.items()))

    if jobs.autoscaling or sum(held(node) for node in nodes) >= num_workers:
        return
    largest = max(nodes, key=lambda node: tuple(node.get(name, 0) for name in asked), default={})
    wanted, there = (
        " and ".join(f"{amounts.get(name, 0):g} {name}" for name in asked)
        for amounts in (asked, largest)
    )
    raise ValueError(
        f"jobs: got {num_workers} workers a job, {wanted} each; the largest of {len(nodes)} nodes "
        f"has {there}, and a job would wait for ever. Lower num_workers, cpus_per_worker or "
        "gpus_per_worker, or set autoscaling where the cluster brings nodes that are asked for"
    )


def check_jobs_here(jobs: "JobsConfig") -> None:
    """Do the same for the local cluster that a run would start, before it takes its time."""
    if is_local():
        check_jobs(jobs, [{"CPU": os.cpu_count() or 1}], gpus=0)


def cluster_nodes() -> list[Resources]:
    """Return what each living node of the open cluster has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def parallel_jobs(num_workers: int, cpus_per_worker: float, gpus_per_worker: float) -> int:
    """Return how many jobs of that size the open cluster runs at once, at least one."""
    import ray

    resources = ray.cluster_resources()
    fits = [resources.get("CPU", 0) / (num_workers * cpus_per_worker)]
    if gpus_per_worker:
        fits.append(resources.get("GPU", 0) / (num_workers * gpus_per_worker))
    return max(1, int(min(fits)))
