"""A local MLflow server on sqlite for the length of a run; an MLFLOW_TRACKING_URI in the
environment goes before it.
"""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from requests import Response

_START_TIMEOUT_S = 120
_STOP_TIMEOUT_S = 15
_MOST_LOG_BYTES = 2**20
_ASKED, _ANSWER_S = 3, 30
_VERSION_S, _VERSION_CHARS = 5, 32
_OLDEST_MAJOR = 3  # older ones keep no models as a run logs them now: they answer 404
_SERVER_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


@contextmanager
def tracking_server(store: Path) -> Iterator[str]:
    """Yield the tracking URI: the environment's, or a server's over `store` that is stopped at the
    end. Raises ValueError where the environment's does not answer, or is too old.
    """
    with starting_server(store) as address:
        check_answers(uri := address())
        yield uri


@contextmanager
def starting_server(store: Path) -> Iterator[Callable[[], str]]:
    """Start what `tracking_server` yields; yield a function that waits until it answers and returns
    its URI: whoever has other things to start does so meanwhile. Raises ValueError where the
    environment's is no address, or that of a server that is too old.
    """
    if given := os.environ.get("MLFLOW_TRACKING_URI"):
        check_address(given)
        check_version(given)
        yield lambda: given
        return
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    log = _prepared(store) / "mlflow-server.log"
    if log.exists() and log.stat().st_size > _MOST_LOG_BYTES:
        log.unlink()
    with log.open("a") as stream:  # another command's server may write to it, too
        server = subprocess.Popen(
            server_command(store, port),
            env={**os.environ, **_SERVER_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        try:
            yield lambda: _when_up(server, uri, log)
        finally:
            _stop(server)


def check_address(uri: str, field: str = "MLFLOW_TRACKING_URI") -> None:
    """Raise ValueError, with the name of the field, for what names no server: mlflow would take it
    for a folder.
    """
    if "://" not in uri and uri != "databricks":
        raise ValueError(
            f"{field}: got {redacted(uri)!r}, allowed is the address of a running MLflow server, "
            "such as http://127.0.0.1:5000"
        )


def check_answers(uri: str, field: str = "MLFLOW_TRACKING_URI") -> None:
    """Raise ValueError, with the name of the field, where an address is that of a server which does
    not answer: before hours of training, not after them. An answer that wants a password is one.
    """
    if not uri.startswith(("http://", "https://")):
        return
    from mlflow.exceptions import MlflowException

    for left in reversed(range(_ASKED)):
        try:
            _ask(uri, "/health", _ANSWER_S)
            return
        except MlflowException as error:
            if not left:
                raise ValueError(
                    f"{field}: got {redacted(uri)!r}, which does not answer "
                    f"({redacted(error.message)}); allowed is the address of a running MLflow "
                    "server"
                ) from error
            time.sleep(1)


def check_version(uri: str, field: str = "MLFLOW_TRACKING_URI") -> None:
    """Raise ValueError, with the name of the field, where a server says that it is too old; one
    that says nothing is let pass.
    """
    if not uri.startswith(("http://", "https://")):
        return
    from mlflow.exceptions import MlflowException

    try:
        version = _ask(uri, "/version", _VERSION_S).text[:_VERSION_CHARS].strip()
    except MlflowException:
        return
    major = version.partition(".")[0]
    if major.isdigit() and int(major) < _OLDEST_MAJOR:
        raise ValueError(
            f"{field}: got {redacted(uri)!r}, a server of MLflow {version}; allowed is one of "
            f"MLflow {_OLDEST_MAJOR}.0 or later"
        )


def redacted(text: str) -> str:
    """Return a text without the passwords of its addresses."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", text)


def _ask(uri: str, page: str, timeout_s: int) -> "Response":
    """Return a server's answer, of any status, to a request that says who asks and trusts its
    certificate as all of mlflow's do. Raises MlflowException where there is none.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    who = get_default_host_creds(uri)
    return http_request(who, page, "GET", max_retries=0, timeout=timeout_s, raise_on_status=False)


def serve_in_foreground(store: Path, port: int) -> int:
    """Run the server over `store` until it is interrupted; return its exit status."""
    command = server_command(_prepared(store), port)
    environment = {**os.environ, **_SERVER_ENVIRONMENT}
    try:
        return subprocess.run(
            command, env=environment, check=False, preexec_fn=_end_with_parent
        ).returncode
    except KeyboardInterrupt:
        return 0


def server_command(store: Path, port: int) -> list[str]:
    """Return the command line of a server that keeps runs in sqlite and artifacts beside it."""
    module = "pipelines.registry.local_app"
    return [sys.executable, "-m", module, str(store.resolve()), str(port)]


def _prepared(store: Path) -> Path:
    store.mkdir(parents=True, exist_ok=True)
    return store


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _end_with_parent() -> None:
    """Ask the kernel to end the server when the run is killed before it can; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _when_up(server: subprocess.Popen[bytes], uri: str, log: Path) -> str:
    """Return the server's URI once it answers."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(
                f"the MLflow server ended with status {server.returncode}; its log: {log}"
            )
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2):
                return uri
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(
        f"the MLflow server did not answer within {_START_TIMEOUT_S} s; its log: {log}"
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its worker, which share a process group."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
