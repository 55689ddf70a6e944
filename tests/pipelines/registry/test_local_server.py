"""The local MLflow server lives as long as its run, also when the run is killed."""

import base64
import os
import re
import signal
import ssl
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
from rich.console import Console
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.recipe.recipe import load_recipe
from pipelines.registry import Registry, push
from pipelines.registry.local_server import (
    check_answers,
    free_port,
    server_command,
    starting_server,
    tracking_server,
)
from pipelines.registry.server import connect
from pipelines.serve.access.door import Tls
from pipelines.training.workflow import train_all
from tests.pipelines.browser import headless_browser
from tests.pipelines.certificate import certificate
from tests.pipelines.processes import wait_for


def servers_over(store: Path) -> list[psutil.Process]:
    """Return the processes whose command line names the store, with what they have started."""
    parents = [
        process
        for process in psutil.process_iter(["cmdline"])
        if "pipelines.registry.local_app" in (process.info["cmdline"] or [])
        and str(store) in process.info["cmdline"]
    ]
    return [process for parent in parents for process in (parent, *parent.children(recursive=True))]


def test_the_environment_goes_before_a_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering("3.1.0") as given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        with tracking_server(tmp_path) as uri:
            assert uri == given
    assert list(tmp_path.iterdir()) == []


def test_a_registry_without_a_version_of_the_recipe_is_not_pushed(
    tracking_uri: str,
    write_recipe: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_recipe("never-trained")
    with tracking_server(tmp_path) as target:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
        done = CliRunner().invoke(app, ["registry", "push", str(path), "--to", target])
    assert done.exit_code == 2
    assert "recipe: got 'never-trained', of which the registry here holds no" in done.stderr


@pytest.mark.parametrize("odd", ["127.0.0.1:5000", "http//127.0.0.1:5000", "http://[::1"])
def test_what_is_no_address_is_told_by_its_name(
    odd: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", odd)
    told = re.escape(f"MLFLOW_TRACKING_URI: got '{odd}'")
    with pytest.raises(ValueError, match=rf"^{told}.*allowed is the address of"):
        tracking_server(tmp_path).__enter__()


def test_an_address_where_nobody_answers_is_told_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    told = f"MLFLOW_TRACKING_URI: got '{nowhere}', which does not"
    with pytest.raises(ValueError, match=told):
        check_answers(nowhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", nowhere)
    with pytest.raises(ValueError, match=told):
        tracking_server(tmp_path).__enter__()
    check_answers("databricks://profile")  # that asks another way


def test_a_password_in_an_address_is_not_shown() -> None:
    nowhere = f"http://anna:secret@127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match=r"got 'http://anna:\*\*\*@127.0.0.1") as refused:
        check_answers(nowhere)
    assert "secret" not in str(refused.value)


@contextmanager
def answering(version: str, user: str = "", tls: Tls | None = None) -> Iterator[str]:
    """Listen as a server of another version does, which may ask for a user such as "name:word" and
    show a certificate; yield its address.
    """
    wanted = f"Basic {base64.b64encode(user.encode()).decode()}"

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = not user or self.headers["Authorization"] == wanted
            self.send_response((200 if known else 401) if self.path == "/version" else 404)
            self.end_headers()
            self.wfile.write(version.encode() if known else b"You are not authenticated.")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_server_is_asked_as_the_user_that_the_address_or_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = "a server of MLflow 2.9.2; allowed is one of MLflow 3.0"
    with answering("2.9.2", user="anna:word") as uri:
        named = uri.replace("//", "//anna:word@")
        check_answers(named)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
        with pytest.raises(ValueError, match=told):
            tracking_server(tmp_path).__enter__()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "word")
        with pytest.raises(ValueError, match=told):
            tracking_server(tmp_path).__enter__()


@pytest.mark.parametrize("trusted", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE"])
def test_a_server_s_own_certificate_is_trusted_as_mlflow_trusts_it(
    trusted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tls = certificate(tmp_path)
    with answering("3.1.0", tls=tls) as uri:
        with pytest.raises(ValueError, match=r"which does not answer .*CERTIFICATE_VERIFY_FAILED"):
            check_answers(uri)
        monkeypatch.setenv(trusted, str(tls.certificate))
        check_answers(uri)


@pytest.mark.parametrize("version", ["2.22.2", "1.30.1"])
def test_a_server_that_is_too_old_is_told_before_anything_is_trained(
    version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_recipe: Callable[..., Path]
) -> None:
    recipe = load_recipe(make_recipe(tmp_path, "old"))
    with answering(version) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        told = f"got '{uri}', a server of MLflow {version}; allowed is one of MLflow 3.0 or later"
        with pytest.raises(ValueError, match=f"^MLFLOW_TRACKING_URI: {told}"):
            train_all(recipe, None, tmp_path / "home", tmp_path / "report", Console())
        with pytest.raises(ValueError, match=f"^to: {told}"):
            push(Registry(uri, recipe), Registry(uri, recipe), print)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("version", ["3.0.1", "12.0.0", "<html>a login page</html>", ""])
def test_a_server_is_used_that_is_new_or_says_nothing(
    version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with answering(version) as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with tracking_server(tmp_path) as found:
            assert found == uri


@pytest.mark.slow
def test_a_server_starts_while_others_do(tmp_path: Path) -> None:
    with starting_server(tmp_path) as address:
        assert servers_over(tmp_path)
        log = (tmp_path / "mlflow-server.log").read_text()
        assert "startup complete" not in log, "it was waited for"
        assert urllib.request.urlopen(f"{address()}/health", timeout=5).read() == b"OK"
    assert servers_over(tmp_path) == []


@pytest.mark.slow
def test_a_server_is_stopped_with_its_run(tmp_path: Path) -> None:
    with tracking_server(tmp_path) as uri:
        check_answers(uri)
        assert urllib.request.urlopen(f"{uri}/health", timeout=5).read() == b"OK"
        assert len(servers_over(tmp_path)) == 1
    assert servers_over(tmp_path) == []


@pytest.mark.slow
def test_two_first_commands_at_once_and_one_that_was_killed_leave_a_whole_registry(
    tmp_path: Path,
) -> None:
    killed = subprocess.Popen(
        server_command(tmp_path, free_port()), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    part = tmp_path / "mlflow.db.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 0)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "mlflow.db").exists(), "it was killed too late"
    with starting_server(tmp_path) as one, starting_server(tmp_path) as other:
        clients = [connect(address()) for address in (one, other)]
        clients[0].create_experiment("of the first")
        assert clients[1].get_experiment_by_name("of the first") is not None
    log = (tmp_path / "mlflow-server.log").read_text()
    assert log.count("Uvicorn running on") == 2 and "\0" not in log


@pytest.mark.slow
@pytest.mark.browser
def test_a_first_visit_shows_the_models_and_nothing_before_them(tmp_path: Path) -> None:
    with tracking_server(tmp_path) as uri, headless_browser(tmp_path / "profile") as driver:
        driver.get(uri)
        WebDriverWait(driver, 60).until(
            lambda _: "Create model" in driver.find_element(By.TAG_NAME, "body").text
        )
        shown = driver.find_element(By.TAG_NAME, "body").text
        assert driver.find_elements(By.CSS_SELECTOR, "[role=dialog]") == []
        assert "Registered Models" in shown
        assert "MLflow Assistant" not in shown


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_a_server_is_stopped_when_its_run_is_killed(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from pipelines.registry.local_server import tracking_server
        with tracking_server(Path(sys.argv[1])):
            print("up", flush=True)
            time.sleep(600)
    """
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"up\n"
    found = servers_over(tmp_path)
    assert found
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 20
    while any(process.is_running() for process in found):
        assert time.monotonic() < deadline
        time.sleep(0.1)
