#!/usr/bin/env bash
# mlflow 3.17.2: an answer lost before its head has the request sent again, done or not; one lost after its head never has.
#
# Expected: MLFLOW_HTTP_REQUEST_MAX_RETRIES counts for any connection that breaks while an answer is awaited, and only for
# requests that may be sent twice: a search, not the creation of a run.
# Behaviour: urllib3 repeats every method, but has handed an answer on to requests when its body is read. So a search whose
# answer ends after its head is an error at once, whatever is allowed; and a run whose creation was done, but whose answer was
# lost whole, is created a second time, without a word.
# Output seen: a search, its first answer lost before the head: 0 runs, asked 2 times; after the head: MlflowException, asked
# once; a run's creation, its first answer lost before the head: 2 runs of that name
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2
cd "$folder"
cat > answers.py <<'PY'
"""Ask a server through a relay that loses the first answer to each kind of request."""

import http.client
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ.update(MLFLOW_HTTP_REQUEST_MAX_RETRIES="3", MLFLOW_DISABLE_TELEMETRY="true")
logging.getLogger("urllib3").setLevel(logging.ERROR)
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


PORT = free_port()
asked = []
loses_head = True


class Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def relay(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = http.client.HTTPConnection("127.0.0.1", PORT)
        headers = {"Content-Type": "application/json"}
        server.request(self.command, self.path, body, headers)
        answer = server.getresponse()
        content = answer.read()
        kind = self.path.partition("?")[0]
        asked.append(kind)
        is_first = asked.count(kind) == 1
        if not (is_first and loses_head):
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
        if is_first:
            self.close_connection = True
        else:
            self.wfile.write(content)

    do_GET = do_POST = relay

    def log_message(self, *_):
        pass


server = subprocess.Popen(
    [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={PORT}", "--workers=1",
     "--backend-store-uri=sqlite:///runs.db"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
)  # fmt: skip
relay = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
threading.Thread(target=relay.serve_forever, daemon=True).start()
try:
    direct = MlflowClient(f"http://127.0.0.1:{PORT}")
    for _ in range(240):
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
            break
        except OSError:
            time.sleep(0.5)
    experiment = direct.create_experiment("answers")
    client = MlflowClient(f"http://127.0.0.1:{relay.server_port}")
    before_head = len(client.search_runs([experiment]))
    asked_before = len(asked)
    asked.clear()
    loses_head = False
    try:
        client.search_runs([experiment])
        after_head = "an answer"
    except MlflowException as error:
        after_head = f"MlflowException, {'IncompleteRead' in str(error)}"
    asked_after = len(asked)
    asked.clear()
    loses_head = True
    client.create_run(experiment, run_name="one")
    runs = [run.info.run_name for run in direct.search_runs([experiment])]
    print(before_head, asked_before, after_head, asked_after, runs)
    assert (before_head, asked_before) == (0, 2)
    assert (after_head, asked_after) == ("MlflowException, True", 1)
    assert runs == ["one", "one"]
finally:
    os.killpg(server.pid, 15)
    server.wait()
PY
"$folder/venv/bin/python" answers.py
