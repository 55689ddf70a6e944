#!/usr/bin/env bash
# mlflow 3.17.2: a server that is ended while it makes the tables of a new SQLite database leaves one that no server starts
# with again.
#
# Expected: the next start goes on with the database, or begins it anew; the tables are made in a transaction, or each only
# where it is missing.
# Behaviour: tables are made, and committed, one after the other. The next start sees that some are missing and makes all of
# them again, from the first on: it ends with an error, and so does every later one.
# Output seen: ended with some of its tables made; started again: status 1, "table ... already exists"; once more: the same
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2
cd "$folder"
cat > half_made.py <<'PY'
"""End a server while its database is made, then start it again, twice."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")


def start(database, log):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1",
               f"--backend-store-uri=sqlite:///{os.path.abspath(database)}"]
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def tables(database):
    """Return how many tables are committed; none while they cannot be counted."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=0.01) as connection:
            return connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    except sqlite3.Error:
        return 0


for attempt in range(20):  # the moment is short
    database = f"{attempt}.db"
    with open(f"{attempt}.log", "w") as log:
        server = start(database, log)
        while server.poll() is None and tables(database) < 8:
            time.sleep(0.002)
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    said = []
    for _ in range(2):
        with open("again.log", "w+") as log:
            server = start(database, log)
            deadline = time.monotonic() + 60
            while server.poll() is None and time.monotonic() < deadline:
                log.seek(0)
                if "Uvicorn running" in log.read():
                    os.killpg(server.pid, signal.SIGTERM)
                    server.wait()
                    break
                time.sleep(0.2)
            log.seek(0)
            text = log.read()
        exists = re.search(r"table \S+ already exists", text)
        said.append((server.returncode, exists and re.sub(r"table \S+", "table ...", exists[0])))
    if said[0][1]:
        break
print(f"ended with some of its tables made; started again: status {said[0][0]}, {said[0][1]!r}; "
      f"once more: status {said[1][0]}, {said[1][1]!r}")
assert said == [(1, "table ... already exists")] * 2, said
PY
"$folder/venv/bin/python" half_made.py
echo "as it was seen"
