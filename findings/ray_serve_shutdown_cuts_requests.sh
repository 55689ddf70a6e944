#!/usr/bin/env bash
# ray[serve] 2.60.0: `serve.shutdown()` cuts requests off that `serve.delete` lets end.
#
# Expected: both end an application in the same way: its replicas drain, for as long as `graceful_shutdown_timeout_s` says,
# and who waits for an answer gets it.
# Behaviour: a request that is on its way when `serve.shutdown` is called gets no answer and no status, its connection is cut,
# whatever time the deployment has to end. During `serve.delete` the same request is answered.
# Output seen: serve.delete: answered; serve.shutdown: cut off
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[serve]==2.60.0"
cat > "$folder/shutdown.py" <<'PY'
import asyncio
import http.client
import logging
import socket
import threading
import time
import urllib.request

import ray
from ray import serve


@serve.deployment(graceful_shutdown_timeout_s=60)
async def slow(_):
    await asyncio.sleep(4)
    return "done"


def answer_during(end):
    """Return what a client gets that has asked before the application ends."""
    serve.run(slow.bind())
    seen = []

    def ask():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
                seen.append("answered" if answer.read() == b"done" else "something else")
        except (OSError, http.client.HTTPException):
            seen.append("cut off")

    client = threading.Thread(target=ask)
    client.start()
    time.sleep(1.5)
    end()
    client.join()
    return seen[0]


with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": port})
found = answer_during(lambda: serve.delete("default")), answer_during(serve.shutdown)
ray.shutdown()
print(f"serve.delete: {found[0]}; serve.shutdown: {found[1]}")
assert found == ("answered", "cut off")
PY
"$folder/venv/bin/python" "$folder/shutdown.py" 2>/dev/null
