#!/usr/bin/env bash
# ray[serve] 2.60.0: HTTP proxies of two clusters on one machine share a port, and neither says so.
#
# Expected: the second `serve.start` fails, as it does where another program listens on the port.
# Behaviour: a proxy listens with SO_REUSEPORT, so that the kernel lets the second one in and hands each connection to either.
# Both applications run without an error or a warning, and a client gets answers of one or the other. Keys, limits and counts
# of two endpoints are then a lottery. Beside a program that listens without that option the start does fail.
# Output seen: second cluster: running; answers of the first and of the second on one port: both; beside another program: refused
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[serve]==2.60.0"
cat > "$folder/endpoint.py" <<'PY'
import logging
import sys

import ray
from ray import serve

name, port = sys.argv[1], int(sys.argv[2])


@serve.deployment
def answer(_):
    return name


ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
try:
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(answer.bind())
except Exception:
    print("refused", flush=True)
else:
    print("running", flush=True)
    sys.stdin.read()
    serve.shutdown()
ray.shutdown()
PY
cat > "$folder/shared.py" <<'PY'
import socket
import subprocess
import sys
import urllib.request


def start(name, port):
    command = [sys.executable, sys.argv[1], name, str(port)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return started, next(line for line in map(str.strip, started.stdout) if line in ("running", "refused"))


def stop(started):
    started.stdin.close()
    started.wait(60)


with socket.create_server(("127.0.0.1", 0)) as taken:
    other, beside = start("third", taken.getsockname()[1])
    stop(other)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    first, said_first = start("first", port)
    second, said_second = start("second", port)
    answers = {urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read().decode() for _ in range(60)}
    stop(second)
    stop(first)
who = "both" if answers == {"first", "second"} else " ".join(answers)
print(f"second cluster: {said_second}; answers of the first and of the second on one port: {who}; beside another program: {beside}")
assert (said_first, said_second, who, beside) == ("running", "running", "both", "refused")
PY
"$folder/venv/bin/python" "$folder/shared.py" "$folder/endpoint.py"
