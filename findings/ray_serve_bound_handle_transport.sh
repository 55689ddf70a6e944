#!/usr/bin/env bash
# ray[serve] 2.60.0: a bound handle keeps the transport of the process that built the application, not of the replica that
# calls by it.
#
# Expected: RAY_SERVE_USE_GRPC_BY_DEFAULT=1 in a replica's environment has its calls to other deployments go by gRPC.
# Behaviour: the setting is read when `ray.serve` is imported, and a bound handle is pickled with what it was in the driver.
# Where the driver has imported Serve before it set the variable and started its cluster, replicas call by Ray's own calls
# by the handles that they are given, and by gRPC by those that they ask for themselves (`serve.get_deployment_handle`). A
# response of the first kind turns into an object reference; one of the second kind refuses to.
# Output seen: variable in the replica: 1; bound handle: an object reference; asked for in the replica: refused (RuntimeError)
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[serve]==2.60.0"
cat > "$folder/transport.py" <<'PY'
import logging
import os

import ray
from ray import serve


@serve.deployment
class Callee:
    def __call__(self):
        return 1


@serve.deployment
class Caller:
    def __init__(self, bound):
        self.bound = bound

    async def __call__(self):
        asked_for = serve.get_deployment_handle(self.bound.deployment_name, self.bound.app_name)
        found = [os.environ.get("RAY_SERVE_USE_GRPC_BY_DEFAULT")]
        for handle in (self.bound, asked_for):
            try:
                await handle.remote()._to_object_ref()
                found.append("an object reference")
            except Exception as error:
                found.append(f"refused ({type(error).__name__})")
        return found


os.environ["RAY_SERVE_USE_GRPC_BY_DEFAULT"] = "1"
ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": 0})
variable, bound, asked_for = serve.run(Caller.bind(Callee.bind())).remote().result()
print(f"variable in the replica: {variable}; bound handle: {bound}; asked for in the replica: {asked_for}")
assert (variable, bound) == ("1", "an object reference")
assert asked_for.startswith("refused")
serve.shutdown()
ray.shutdown()
PY
env -u RAY_SERVE_USE_GRPC_BY_DEFAULT "$folder/venv/bin/python" "$folder/transport.py" 2>/dev/null
