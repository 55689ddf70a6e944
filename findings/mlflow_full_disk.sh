#!/usr/bin/env bash
# mlflow 3.17.2: a server whose disk is full says that it is unavailable for a while, and its clients ask for minutes.
#
# Expected: a full disk is an error that asking again does not mend: the server answers with one that clients hand on at
# once, as they do with its INTERNAL_ERROR of a wrong query.
# Behaviour: sqlite's "database or disk is full" becomes TEMPORARILY_UNAVAILABLE, status 503, for which mlflow's client asks
# again as often as MLFLOW_HTTP_REQUEST_MAX_RETRIES says, by default seven times over some four minutes a call, without a word.
# Output seen: 503 TEMPORARILY_UNAVAILABLE, database or disk is full: True; a call with 2 retries is sent 3 times
#
# Mounts a small disk in a namespace of its own (`unshare`, of util-linux).
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "mlflow==3.17.2"
cat > "$folder/full.py" <<'PY'
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import requests

disk = pathlib.Path(sys.argv[1])
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
address = f"http://127.0.0.1:{port}"
log = disk.parent / "server.log"
with log.open("w") as output:
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1",
         f"--backend-store-uri=sqlite:///{disk}/mlflow.db", f"--artifacts-destination={disk}/artifacts"],
        stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
    )
try:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5)
            break
        except OSError:
            time.sleep(0.5)
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
    page = f"{address}/api/2.0/mlflow/experiments/create"
    answer = requests.post(page, json={"name": "one"}, timeout=60)
    said = answer.json()
    full = "database or disk is full" in said["message"]
    before = log.read_text().count("experiments/create")

    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
    import mlflow

    try:
        mlflow.MlflowClient(address).create_experiment("two")
    except mlflow.MlflowException:
        pass
    time.sleep(1)
    sent = log.read_text().count("experiments/create") - before
finally:
    os.killpg(server.pid, signal.SIGTERM)
print(f"{answer.status_code} {said['error_code']}, database or disk is full: {full}; "
      f"a call with 2 retries is sent {sent} times")
assert (answer.status_code, said["error_code"], full, sent) == (503, "TEMPORARILY_UNAVAILABLE", True, 3)
PY
mkdir "$folder/disk"
unshare --map-root-user --mount sh -c \
  "mount -t tmpfs -o size=8m none '$folder/disk' && exec '$folder/venv/bin/python' '$folder/full.py' '$folder/disk'" 2>/dev/null
