#!/usr/bin/env bash
# ray 2.60.0: `ray.init` takes a program's own handler of SIGTERM away, and that signal ends the program at once.
#
# Expected: a handler that a program has set with signal.signal is the program's, as it stays for SIGINT: it is called, and the
# program ends in order, as service managers ask by SIGTERM.
# Behaviour: Ray sets a handler of its own in its place, without a word; it ends the program with status 15. One that is set once
# more after ray.init is called. SIGINT is left alone.
# Output seen: SIGTERM, set before ray.init: status 15, not called; set again after it: status 0, called; SIGINT, set before:
# status 0, called
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cd "$folder"
cat > program.py <<'PY'
"""End by a signal, as a program does that has a handler: `program.py SIGNAL again|once`."""

import logging
import os
import signal
import sys
import threading

import ray

ended = threading.Event()
number = getattr(signal, sys.argv[1])
signal.signal(number, lambda *_: ended.set())
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
if sys.argv[2] == "again":
    signal.signal(number, lambda *_: ended.set())
os.kill(os.getpid(), number)
print("called" if ended.wait(10) else "not called", flush=True)
ray.shutdown()
PY
cat > outside.py <<'PY'
import subprocess
import sys

seen = {}
for case in (("SIGTERM", "once"), ("SIGTERM", "again"), ("SIGINT", "once")):
    done = subprocess.run([sys.executable, "program.py", *case], capture_output=True, text=True, timeout=120)
    seen[case] = done.returncode, "called" in done.stdout.split()
    print(*case, "status", *seen[case][:1], "handler called:", seen[case][1])
assert seen == {("SIGTERM", "once"): (15, False), ("SIGTERM", "again"): (0, True), ("SIGINT", "once"): (0, True)}, seen
PY
RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" outside.py
echo "as it was seen"
