"""`fairgen serve`: the application on a local or joined cluster, until it is interrupted."""

import json
import os
import signal
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from pipelines.ray_runtime import cluster_session, is_local
from pipelines.registry import starting_server
from pipelines.serve.access.door import Tls, open_door
from pipelines.serve.access.keys import is_loopback
from pipelines.serve.app import application
from pipelines.serve.settings import ServeSettings

APP = "fairgen"
_LOOK_S = 0.5
_LAST_BYTES_S = 0.3  # from the proxy to the clients
_HERE = ("localhost", "127.0.0.1", "::1")


@contextmanager
def served(
    settings: ServeSettings,
    home: Path,
    host: str,
    port: int,
    tls: Tls | None = None,
    trusted_proxies: Sequence[str] = (),
) -> Iterator[str]:
    """Serve over the registry under `home` (or that of the environment); yield the address.

    Where it listens for this machine only, it answers to this machine's names, unless the settings
    name others. A client's address is what the trusted proxies say, and nobody else.
    """
    from ray import serve

    if is_loopback(host) and not settings.access.hosts:
        access = settings.access.model_copy(update={"hosts": tuple(dict.fromkeys((*_HERE, host)))})
        settings = settings.model_copy(update={"access": access})

    with ExitStack() as entrance:
        door = None
        if is_local():
            door = entrance.enter_context(open_door(host, port, tls, trusted_proxies))
        with starting_server(home) as registry, cluster_session():
            if door is None:
                os.environ["FORWARDED_ALLOW_IPS"] = ",".join(trusted_proxies)  # the proxy reads it
            serve.start(
                proxy_location="EveryNode" if door is None else "Disabled",
                http_options={"host": host, "port": port, **_files(tls)},
            )
            here = {"tracking_uri": registry(), "home": home.resolve()}
            named = settings.model_copy(update=here)
            try:
                try:
                    serve.run(application(named, door), name=APP)
                except RuntimeError as error:
                    raise RuntimeError(f"the endpoint does not start: {_reason(error)}") from error
                yield f"{'https' if tls else 'http'}://{host}:{port}"
            finally:
                entrance.close()  # who comes from now on is refused, and does not wait
                serve.shutdown()


def _reason(error: RuntimeError) -> str:
    """Return why an application does not start: what its replica raised, where Serve knows."""
    from ray import serve

    for part in serve.status().applications[APP].deployments.values():
        if part.status == "DEPLOY_FAILED":
            lines = part.message.splitlines()
            raised = next((n for n in reversed(range(len(lines))) if lines[n][:1] == " "), -1) + 1
            return "".join(lines[raised : raised + 1]).removeprefix("ValueError: ") or str(error)
    return str(error)


def _files(tls: Tls | None) -> dict[str, str]:
    return {"ssl_certfile": str(tls.certificate), "ssl_keyfile": str(tls.key)} if tls else {}


def serve_until_interrupted(
    settings: ServeSettings,
    home: Path,
    host: str,
    port: int,
    console: Console,
    tls: Tls | None = None,
    trusted_proxies: Sequence[str] = (),
) -> None:
    """Serve until SIGINT or SIGTERM, and until requests on their way are answered; a second one
    ends at once.
    """
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    with served(settings, home, host, port, tls, trusted_proxies) as address:
        console.print(f"The page: {address}/   the API: {address}/v1   its docs: {address}/docs")
        here = address.replace("//0.0.0.0:", "//127.0.0.1:")
        missing: list[str] = []
        try:
            missing = unserved(here)
        except OSError as error:  # its champions cannot be had: requests are told so, too
            console.print(f"{here}/health: {error}", style="red")
        if missing:
            console.print(
                f"Not balanced: {', '.join(missing)}. The registry has no champions of them yet; "
                "in these, pictures are the base model's until some are promoted.",
                style="red",
            )
        ended.wait()
        ended.clear()
        _finish(settings.limits.timeout_s, ended, console)


def _finish(within_s: float, at_once: threading.Event, console: Console) -> None:
    """Take no more requests, and wait until those on their way are answered."""
    from ray import serve

    ending, since = serve.get_deployment_handle("Gateway", APP).end.remote(), time.monotonic()
    said = False
    while not at_once.is_set() and time.monotonic() - since < within_s:
        try:
            ending.result(timeout_s=_LOOK_S)
            at_once.wait(_LAST_BYTES_S)
            return
        except TimeoutError:
            if not said:
                console.print("Requests on their way are finished; a second signal ends at once.")
            said = True
        except Exception as error:  # the endpoint ends all the same
            console.print(f"requests are not finished: {error}", style="red")
            return


def unserved(address: str) -> list[str]:
    """Return the recipe's attributes of which an endpoint of this process has no adapters."""
    context = ssl.create_default_context()
    context.check_hostname = False  # it is our own, whatever its certificate's names are
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"{address}/health", context=context, timeout=60) as answer:
        return list(json.load(answer)["missing"])
