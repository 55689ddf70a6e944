"""MLflow's own application on this machine, whose first visit shows the registered models, and the
one process that serves it: `mlflow server` is two, and each of them imports all of MLflow.

MLflow opens on its home page, at a first visit with its assistant beside it and a notice before the
models. What was seen before it keeps in the browser, so its page is told that all of it was.
"""

import os
import sys
from pathlib import Path

import mlflow.server
import uvicorn
from filelock import FileLock
from mlflow.server import constants
from mlflow.server.fastapi_app import app
from mlflow.server.handlers import initialize_backend_stores
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from starlette.responses import HTMLResponse
from starlette.routing import Route

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
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=str(_LOG_CONFIG))


def _make(database: Path) -> None:
    """Make the database where there is none, whole or not at all: MLflow makes it table by table,
    and never ends what a killed process, or two at once, have begun.
    """
    with FileLock(database.with_suffix(".lock")):
        if not database.exists():
            with written_whole(database) as partial:
                Path(f"{partial}-journal").unlink(missing_ok=True)  # of the killed one's
                SqlAlchemyStore(f"sqlite:///{partial}", _PROXIED).engine.dispose()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
