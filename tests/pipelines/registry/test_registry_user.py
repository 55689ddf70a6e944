"""The registry's user of the manifests is made as they make it, and is no admin."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client

from pipelines.recipe import load_recipe
from pipelines.registry import Registry, check_answers, free_port
from tests.pipelines.processes import wait_for
from tests.pipelines.registered import register_champions

pytestmark = [pytest.mark.mlflow, pytest.mark.slow]
CLUSTER = Path(__file__).parents[3] / "cluster"


def answers(uri: str) -> bool:
    try:
        check_answers(uri)
    except ValueError:
        return False
    return True


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server with users, as the manifest starts one, on SQLite."""
    _, configuration, *_ = yaml.safe_load_all((CLUSTER / "mlflow/mlflow.yaml").read_text())
    text = configuration["data"]["basic_auth.ini"]
    database = next(line for line in text.splitlines() if line.startswith("database_uri"))
    text = text.replace(database, f"database_uri = sqlite:///{tmp_path}/users.sqlite")
    (tmp_path / "basic_auth.ini").write_text(text)
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}",
         "--workers=1", f"--backend-store-uri=sqlite:///{tmp_path}/runs.sqlite",
         f"--artifacts-destination={tmp_path}/artifacts", "--app-name=basic-auth"],
        env={**os.environ, "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "basic_auth.ini"),
             "MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": "the-admins-word",
             "MLFLOW_FLASK_SERVER_SECRET_KEY": "key", "MLFLOW_DISABLE_TELEMETRY": "true"},
        start_new_session=True,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def test_the_user_is_made_twice_registers_and_promotes_and_is_no_admin(
    address: str,
    make_recipe: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script, job = yaml.safe_load_all((CLUSTER / "mlflow/user.yaml").read_text())
    (tmp_path / "make_user.py").write_text(script["data"]["make_user.py"])
    wanted = {e["name"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    given = {"MLFLOW_TRACKING_URI": address, "MLFLOW_TRACKING_USERNAME": "admin", "HOME": "/tmp",
             "MLFLOW_TRACKING_PASSWORD": "the-admins-word", "NEW_USERNAME": "fairgen"}  # fmt: skip
    wait_for(lambda: answers(address))
    for word in ("the-pods-first-word", "the-pods-word-of-now"):
        environment = {**os.environ, **given, "NEW_PASSWORD": word}
        assert wanted <= environment.keys()
        made = subprocess.run(
            [sys.executable, tmp_path / "make_user.py"], env=environment, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        assert made.stdout == "fairgen may use the registry\n"

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "fairgen")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "the-pods-word-of-now")
    recipe = load_recipe(make_recipe(tmp_path, "with-users"))
    register_champions(address, recipe, tmp_path / "adapters", seed=1)
    assert set(Registry(address, recipe).champions()) == {"gender", "age"}
    with pytest.raises(MlflowException, match=r"403|Permission denied"):
        get_app_client("basic-auth", tracking_uri=address).create_user(
            "other", "a-word-of-their-own"
        )
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "the-pods-first-word")
    with pytest.raises(MlflowException, match=r"401|not authenticated"):
        MlflowClient(address).search_experiments()
