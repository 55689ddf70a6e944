#!/usr/bin/env bash
# ray[default,train] 2.60.0: what a run of Ray Train has reserved stays reserved when its controller is lost, on a cluster
# without a dashboard.
#
# Expected: a detached cleaner is started beside each run's controller for this case; CPUs of the run are free again seconds
# after the controller's process has died, and a new run begins.
# Behaviour: the cleaner asks the state API whether the controller lives, which the dashboard answers. Without one
# (`ray.init(include_dashboard=False)`, which many use for local runs) the question fails, the cleaner goes on asking, and the
# CPUs are never free: the next run waits for ever without a word. With a dashboard they are free.
# Output seen: of 2 CPUs free after 30 s without a dashboard: 0.0; with one: 2.0
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default,train]==2.60.0" psutil
cat > "$folder/lost.py" <<'PY'
import logging
import os
import sys
import threading
import time

import psutil
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


def loop(config):
    open(config["begun"], "w").close()
    time.sleep(600)


def fit():
    try:
        DataParallelTrainer(
            loop,
            train_loop_config={"begun": begun},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(name="lost", storage_path=os.environ["FOLDER"]),
        ).fit()
    except Exception:
        pass


with_dashboard = sys.argv[1] == "dashboard"
begun = os.path.join(os.environ["FOLDER"], sys.argv[1])
ray.init(num_cpus=2, include_dashboard=with_dashboard, dashboard_port=0, logging_level=logging.ERROR, log_to_driver=False)
threading.Thread(target=fit, daemon=True).start()
while not os.path.exists(begun):
    time.sleep(0.2)
time.sleep(5)
for process in psutil.Process().children(recursive=True):
    if "TrainController" in " ".join(process.cmdline()):
        process.kill()
time.sleep(30)
print(ray.available_resources().get("CPU", 0.0), flush=True)
ray.shutdown()
os._exit(0)
PY
export FOLDER=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
without=$("$folder/venv/bin/python" "$folder/lost.py" none 2>/dev/null | tail -1)
with=$("$folder/venv/bin/python" "$folder/lost.py" dashboard 2>/dev/null | tail -1)
echo "of 2 CPUs free after 30 s without a dashboard: $without; with one: $with"
python3 -c "assert float('$without') == 0 and float('$with') == 2, ('$without', '$with')"
echo "as it was seen"
