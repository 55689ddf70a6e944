"""MLflow's own application on this machine, whose first visit shows the registered models, and the
one process that serves it: `mlflow server` is two, and each of them imports all of MLflow.

MLflow opens on its home page, at a first visit with its assistant beside it and a notice before the
models. What was seen before it keeps in the browser, so its page is told that all of it was.
"""

import errno
import os
import shutil
import sys
from http import HTTPStatus
from pathlib import Path

import mlflow.server
import uvicorn
from filelock import FileLock
from mlflow.server import constants
from mlflow.server.fastapi_app import app
from mlflow.server.handlers import initialize_backend_stores
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fairgen.files import written_whole

_SERVER = Path(mlflow.server.__file__).parent
_PAGE = _SERVER / "js" / "build" / "index.html"
_LOG_CONFIG = _SERVER / "uvicorn_log_config.yaml"
_SCRIPT = """<script>
for (const seen of ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "_mlflow_model_registry_promo_modal_dismissed_v1"])
  localStorage.setItem(seen, "true");
if (!location.hash) location.hash = "#/models";
</script>"""  # noqa: E501
_PROXIED = "mlflow-artifacts:/"
_LEAST_FREE_BYTES = 2**20


async def _page(_: object) -> HTMLResponse:
    return HTMLResponse(_PAGE.read_text(encoding="utf-8").replace("<head>", "<head>" + _SCRIPT, 1))


app.router.routes.insert(0, Route("/", _page))


def serve(store: Path, port: int) -> None:
    """Serve what lies in a folder, runs in sqlite and artifacts beside it, until it is ended."""
    database = store / "mlflow.db"
    _make(database)
    uri = f"sqlite:///{database}"
    os.environ |= {
        constants.BACKEND_STORE_URI_ENV_VAR: uri,
        constants.REGISTRY_STORE_URI_ENV_VAR: uri,
        constants.ARTIFACT_ROOT_ENV_VAR: _PROXIED,
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: str(store / "artifacts"),
    }
    initialize_backend_stores(uri, uri, _PROXIED)
    uvicorn.run(TellsFullDisk(app, store), host="127.0.0.1", port=port, log_config=str(_LOG_CONFIG))


def _make(database: Path) -> None:
    """Make the database where there is none, whole or not at all: MLflow makes it table by table,
    and never ends what a killed process, or two at once, have begun.
    """
    with FileLock(database.with_suffix(".lock")):
        if not database.exists():
            with written_whole(database) as partial:
                Path(f"{partial}-journal").unlink(missing_ok=True)  # of the killed one's
                SqlAlchemyStore(f"sqlite:///{partial}", _PROXIED).engine.dispose()


class TellsFullDisk:
    """Plain ASGI: an error of a server whose disk is full is a 507 that says so. Of MLflow's own
    status for it a client asks again for ten minutes.
    """

    def __init__(self, app: ASGIApp, store: Path) -> None:
        self._app, self._store = app, store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_full = False

        async def answered(message: Message) -> None:
            nonlocal is_full
            if message["type"] == "http.response.start" and message["status"] >= 500:
                is_full = shutil.disk_usage(self._store).free < _LEAST_FREE_BYTES
            if not is_full:
                await send(message)

        await self._app(scope, receive, answered)
        if is_full:
            said = f"{os.strerror(errno.ENOSPC)}: {self._store}"
            error = {"error_code": "RESOURCE_EXHAUSTED", "message": said}
            await JSONResponse(error, HTTPStatus.INSUFFICIENT_STORAGE)(scope, receive, send)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
