"""`fairgen serve`: the application on a local or joined cluster, until it is interrupted."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pipelines.cluster_session import cluster_session
from pipelines.serve import build
from pipelines.serve.settings import ServeSettings
from pipelines.tracking_server import tracking_server

APP = "fairgen"


@contextmanager
def served(settings: ServeSettings, home: Path, host: str, port: int) -> Iterator[str]:
    """Serve over the registry under `home` (or that of the environment); yield the address."""
    from ray import serve

    with tracking_server(home) as tracking_uri, cluster_session():
        serve.start(http_options={"host": host, "port": port})
        named = settings.model_copy(update={"tracking_uri": tracking_uri})
        serve.run(build(named), name=APP)
        try:
            yield f"http://{host}:{port}"
        finally:
            serve.shutdown()


def serve_until_interrupted(
    settings: ServeSettings, home: Path, host: str, port: int, console: Console
) -> None:
    """Serve until SIGINT or SIGTERM."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    with served(settings, home, host, port) as address:
        console.print(f"The page: {address}/   the API: {address}/v1   its docs: {address}/docs")
        ended.wait()
