#!/usr/bin/env bash
# ray[train] 2.60.0: ray.train.report waits for the controller's next health check, so that a worker is let through once
# in two seconds, whatever it reports.
#
# Expected: report hands metrics over and returns; twenty of them, without a checkpoint, take well under a second.
# Behaviour: a worker's reports go into a queue of one, which the controller empties when it looks after its workers,
# every RAY_TRAIN_HEALTH_CHECK_INTERVAL_S, by default 2. Every further report waits for the look before: training that
# reports every 0.1 s runs twenty times as long. With the interval at 0.1 s the same loop is done in a tenth.
# Output seen: 20 reports in 40.3 s; with RAY_TRAIN_HEALTH_CHECK_INTERVAL_S=0.1 in 2.2 s
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[train]==2.60.0"
cat > "$folder/reports.py" <<'PY'
import logging
import os
import time

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer


def loop(config):
    ray.train.report({"step": 0})
    started = time.monotonic()
    for step in range(20):
        ray.train.report({"step": step + 1})
    with open(config["out"], "w") as out:
        out.write(str(time.monotonic() - started))


ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
out = os.path.join(os.environ["FOLDER"], "seconds")
DataParallelTrainer(
    loop,
    train_loop_config={"out": out},
    scaling_config=ScalingConfig(num_workers=1),
    run_config=RunConfig(name="reports", storage_path=os.environ["FOLDER"]),
).fit()
print(open(out).read())
PY
export FOLDER=$folder RAY_USAGE_STATS_ENABLED=0
slow=$("$folder/venv/bin/python" "$folder/reports.py" 2>/dev/null | tail -1)
fast=$(RAY_TRAIN_HEALTH_CHECK_INTERVAL_S=0.1 "$folder/venv/bin/python" "$folder/reports.py" 2>/dev/null | tail -1)
echo "20 reports in $slow s; with RAY_TRAIN_HEALTH_CHECK_INTERVAL_S=0.1 in $fast s"
python3 -c "slow, fast = float('$slow'), float('$fast'); assert slow > 30 and fast < slow / 4, (slow, fast)"
echo "as it was seen"
