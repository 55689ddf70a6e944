#!/usr/bin/env bash
# ray 2.60.0: with Serve's switch for throughput (RAY_SERVE_THROUGHPUT_OPTIMIZED=1) deployments no longer pass each other
# pictures of more than 4 MiB.
#
# Expected: the switch makes calls faster, and what could be passed before still can.
# Behaviour: calls between deployments go by gRPC then, whose messages end at 4 MiB, in either direction: the call that
# returns a larger one raises an error of gRPC, and behind an HTTP ingress the client gets status 500. Without the switch the
# same answer arrives. What lifts the bound is RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH, in every process.
# Output seen: 3 MiB and 5 MiB: as it is: 200 200; with the switch: 200 500; with the bound lifted, too: 200 200
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[serve]==2.60.0"
cat > "$folder/answer.py" <<'PY'
import logging
import sys
import urllib.error
import urllib.request

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Painter:
    async def paint(self, num_bytes: int) -> bytes:
        return bytes(num_bytes)


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Door:
    def __init__(self, painter) -> None:
        self.painter = painter

    async def __call__(self, request: Request) -> Response:
        picture = await self.painter.paint.remote(int(request.query_params["bytes"]))
        return Response(str(len(picture)))


ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(Door.bind(Painter.bind()))
for num_bytes in (3 * 2**20, 5 * 2**20):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/?bytes={num_bytes}", timeout=60) as answer:
            print("SAW", answer.status)
    except urllib.error.HTTPError as error:
        print("SAW", error.code)
serve.shutdown()
PY
export RAY_USAGE_STATS_ENABLED=0
seen() { "$folder/venv/bin/python" "$folder/answer.py" 18437 2>/dev/null | grep SAW | cut -d' ' -f2 | paste -sd' '; }
before=$(seen)
optimized=$(RAY_SERVE_THROUGHPUT_OPTIMIZED=1 seen)
lifted=$(RAY_SERVE_THROUGHPUT_OPTIMIZED=1 RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH=2147483647 seen)
echo "3 MiB and 5 MiB: as it is: $before; with the switch: $optimized; with the bound lifted, too: $lifted"
[ "$before" = "200 200" ] && [ "$optimized" = "200 500" ] && [ "$lifted" = "200 200" ]
echo "as it was seen"
