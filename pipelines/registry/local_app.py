"""MLflow's own application on this machine, whose first visit shows the registered models.

MLflow opens on its home page, at a first visit with its assistant beside it and a notice before the
models. What was seen before it keeps in the browser, so its page is told that all of it was.
"""

from pathlib import Path

import mlflow.server
from mlflow.server.fastapi_app import app
from starlette.responses import HTMLResponse
from starlette.routing import Route

_PAGE = Path(mlflow.server.__file__).parent / "js" / "build" / "index.html"
_SCRIPT = """<script>
for (const seen of ["mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "_mlflow_model_registry_promo_modal_dismissed_v1"])
  localStorage.setItem(seen, "true");
if (!location.hash) location.hash = "#/models";
</script>"""  # noqa: E501


async def _page(_: object) -> HTMLResponse:
    return HTMLResponse(_PAGE.read_text(encoding="utf-8").replace("<head>", "<head>" + _SCRIPT, 1))


app.router.routes.insert(0, Route("/", _page))
