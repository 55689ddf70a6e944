"""A Ray cluster of several nodes on this machine, with a dashboard that takes jobs."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipelines.registry.local_server import free_port, tracking_server

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass(frozen=True)
class Nodes:
    """A running cluster: its dashboard, the storage that all nodes see, its registry."""

    dashboard: str
    home: Path
    tracking_uri: str
    address: str
    folder: str
    cluster: "Cluster"

    @property
    def environment(self) -> dict[str, str]:
        """What a driver on one of the nodes finds in its environment."""
        return {
            "RAY_ADDRESS": self.address,
            "FAIRGEN_HOME": str(self.home),
            "MLFLOW_TRACKING_URI": self.tracking_uri,
        }


@contextmanager
def running_nodes(home: Path, redis_port: int | None = None) -> Iterator[Nodes]:
    """Start three nodes with addresses of their own; jobs find registry and storage in the nodes'
    environment.

    Each has a folder of its own for Ray's files, as on machines apart: a job's code is unpacked
    there by every node for itself. With `redis_port` the head's state is in a Redis server.
    """
    from ray.cluster_utils import Cluster

    port = free_port()
    patch = pytest.MonkeyPatch()
    with (
        tracking_server(home / "registry") as tracking_uri,
        tempfile.TemporaryDirectory(prefix="fg-", dir="/tmp") as short,  # sockets have short names
    ):
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("FAIRGEN_HOME", str(home))
        patch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        patch.setenv("RAY_worker_niceness", "0")
        if redis_port is not None:
            patch.setenv("RAY_REDIS_ADDRESS", f"127.0.0.1:{redis_port}")
        head = {
            "num_cpus": 1,
            "include_dashboard": True,
            "dashboard_port": port,
            "temp_dir": f"{short}/0",
            "dashboard_agent_listen_port": free_port(),  # the default is another cluster's
        }
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for index in (1, 2):
                cluster.add_node(
                    num_cpus=2,
                    temp_dir=f"{short}/{index}",
                    node_ip_address=f"127.0.0.{1 + index}",
                )
            for index in (0, 1, 2):  # a job asks here where several clusters share a machine
                Path(f"{short}/{index}/ray_current_cluster").write_text(cluster.gcs_address)
            patch.undo()
            dashboard = f"http://127.0.0.1:{port}"
            yield Nodes(dashboard, home, tracking_uri, cluster.gcs_address, short, cluster)
        finally:
            patch.undo()
            cluster.shutdown()


@contextmanager
def blind_node(nodes: Nodes) -> Iterator[str]:
    """Start one more node, before whose eyes an empty file system covers the shared storage; yield
    its address. Needs root.
    """
    address = "127.0.0.9"
    ray = (
        f"{Path(sys.executable).parent}/ray start --address={nodes.address} --block --num-cpus=1 "
        f"--node-ip-address={address} --temp-dir={nodes.folder}/blind"
    )
    started = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {nodes.home} && exec {ray}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield address
    finally:
        started.terminate()
        started.wait(60)


@contextmanager
def fast_clock_node(nodes: Nodes, ahead_s: int) -> Iterator[None]:
    """Start one more node, of three CPUs, whose clock is ahead. Needs Debian's faketime."""
    command = [
        f"{Path(sys.executable).parent}/ray", "start", f"--address={nodes.address}", "--block",
        "--num-cpus=3", "--node-ip-address=127.0.0.8", f"--temp-dir={nodes.folder}/ahead",
    ]  # fmt: skip
    clock = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"+{ahead_s}"}
    started = subprocess.Popen(
        command,
        env={**os.environ, **nodes.environment, **clock},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        started.terminate()
        started.wait(60)


@contextmanager
def locked_head(token: str) -> Iterator[tuple[str, str]]:
    """Start a head that wants a token; yield its dashboard and the token."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fg-", dir="/tmp") as folder:
        started = subprocess.Popen(
            [
                f"{Path(sys.executable).parent}/ray", "start", "--head", "--block", "--num-cpus=1",
                f"--port={free_port()}", f"--dashboard-port={port}", f"--temp-dir={folder}/0",
                f"--dashboard-agent-listen-port={free_port()}",
            ],
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 120
            while not _answers(port):
                assert started.poll() is None and time.monotonic() < deadline, "no head"
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}", token
        finally:
            started.terminate()
            started.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
