#!/usr/bin/env bash
# ray 2.60.0: a training that is given no datasets still starts a process for them, once for each group of workers.
#
# Expected: `datasets` is None by default, so a trainer of one worker runs its controller and that worker, and nothing that
# shares out data.
# Behaviour: an actor `DatasetManager` is there as long as the worker is: a Python process that has imported Ray's data
# library, about 200 MB, for each of several trainings that run at once. No setting leaves it out.
# Output seen: processes of a training without datasets: DatasetManager RayTrainWorker TrainController ; over 100 MB for
# datasets: True
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[train]==2.60.0" "psutil==7.0.0"
cat > "$folder/train.py" <<'PY'
import logging
import sys
import threading
import time

import psutil
import ray
import ray.train
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

KINDS = ("DatasetManager", "RayTrainWorker", "TrainController")


def loop() -> None:
    time.sleep(10)
    ray.train.report({"step": 1})


ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
trainer = DataParallelTrainer(
    loop,
    scaling_config=ray.train.ScalingConfig(num_workers=1),
    run_config=ray.train.RunConfig(storage_path=sys.argv[1]),
)
training = threading.Thread(target=trainer.fit)
training.start()
memory = {}
while training.is_alive():
    for process in psutil.Process().children(recursive=True):
        try:
            name, held = " ".join(process.cmdline()), process.memory_info().rss
        except psutil.Error:
            continue
        for kind in KINDS:
            if kind in name:
                memory[kind] = max(held, memory.get(kind, 0))
    time.sleep(0.2)
ray.shutdown()
over = memory.get("DatasetManager", 0) > 100e6
print("SAW", *sorted(memory), "; over 100 MB for datasets:", over)
PY
export RAY_USAGE_STATS_ENABLED=0 RAY_TRAIN_V2_ENABLED=1
seen=$("$folder/venv/bin/python" "$folder/train.py" "$folder/runs" 2>/dev/null | grep SAW | cut -d' ' -f2-)
echo "processes of a training without datasets: $seen"
[ "$seen" = "DatasetManager RayTrainWorker TrainController ; over 100 MB for datasets: True" ]
echo "as it was seen"
