"""The registry as cluster/mlflow describes it, here: PostgreSQL and an MLflow server with users,
started with the arguments of the manifest.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml

from pipelines.registry.local_server import free_port

MANIFESTS = Path(__file__).parents[2] / "cluster" / "mlflow"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
USER, PASSWORD = "fairgen", "a-long-password-of-tests"
_START_S = 180


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def uri(self, database: str) -> str:
        return f"postgresql://mlflow@127.0.0.1:{self.port}/{database}"


def start_postgres(folder: Path, port: int) -> Postgres:
    """Start the server over a folder that `initdb` has made, and wait until it answers."""
    command = [
        str(BINARIES[-1] / "postgres"), "-D", str(folder / "data"), "-p", str(port),
        "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, user=_user(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with psycopg.connect(
                f"postgresql://mlflow@127.0.0.1:{port}/postgres", password=PASSWORD
            ):
                return Postgres(port, process, folder)
        except psycopg.OperationalError:
            assert process.poll() is None and time.monotonic() < deadline, "no PostgreSQL"
            time.sleep(0.2)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Make and start a PostgreSQL server with the databases of the manifest."""
    if not BINARIES:
        pytest.skip("needs the binaries of PostgreSQL (Debian: postgresql)")
    with tempfile.TemporaryDirectory(prefix="fairgen-postgres-") as made:
        yield from _postgres_over(Path(made))


def _postgres_over(folder: Path) -> Iterator[Postgres]:
    (folder / "password").write_text(PASSWORD)
    if user := _user():
        shutil.chown(folder, user)
        shutil.chown(folder / "password", user)
    subprocess.run(
        [
            BINARIES[-1] / "initdb", "-D", folder / "data", "--username=mlflow",
            "--auth=scram-sha-256", f"--pwfile={folder / 'password'}",
        ],
        user=user, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    server = start_postgres(folder, free_port())
    try:
        (first_start, *_) = yaml.safe_load_all((MANIFESTS / "postgres.yaml").read_text())
        with psycopg.connect(server.uri("postgres"), password=PASSWORD, autocommit=True) as admin:
            admin.execute("CREATE DATABASE mlflow")
            admin.execute(first_start["data"]["users.sql"])
        yield server
    finally:
        stop(server.process, signal.SIGINT)


@contextmanager
def registry_server(database: Postgres, folder: Path) -> Iterator[str]:
    """Start the MLflow server of the manifest over a database; yield its address."""
    port = free_port()
    process = start_registry(database, folder, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process, signal.SIGTERM)


def start_registry(database: Postgres, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Start the server as the manifest says, but for hosts, ports and folders; wait for it."""
    objects = list(yaml.safe_load_all((MANIFESTS / "mlflow.yaml").read_text()))
    (deployment,) = (found for found in objects if found["kind"] == "Deployment")
    (configuration,) = (found for found in objects if found["kind"] == "ConfigMap")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    here = {
        "fairgen-postgres:5432": f"127.0.0.1:{database.port}",
        "--port=5000": f"--port={port}",
        "--host=0.0.0.0": "--host=127.0.0.1",
        "/mnt/artifacts": str(folder / "artifacts"),
    }

    def moved(text: str) -> str:
        for there, place in here.items():
            text = text.replace(there, place)
        return text

    folder.mkdir(parents=True, exist_ok=True)
    users = folder / "basic_auth.ini"
    users.write_text(moved(configuration["data"]["basic_auth.ini"]))
    environment = {
        **os.environ,
        **{entry["name"]: entry["value"] for entry in container["env"] if "value" in entry},
        "MLFLOW_AUTH_CONFIG_PATH": str(users),
        "MLFLOW_AUTH_ADMIN_USERNAME": USER,
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-secret-of-tests",
        "PGPASSWORD": PASSWORD,
    }
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *(moved(argument) for argument in container["args"])],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return process
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (
                folder / "server.log"
            ).read_text()
            time.sleep(0.3)


def stop(process: subprocess.Popen[bytes], by: signal.Signals) -> None:
    """End a server and what it has started."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _user() -> str | None:
    """PostgreSQL refuses root."""
    return "postgres" if os.geteuid() == 0 else None
