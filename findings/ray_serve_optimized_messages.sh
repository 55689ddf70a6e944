#!/usr/bin/env bash
# ray 2.60.0: with Serve's switch for throughput (RAY_SERVE_THROUGHPUT_OPTIMIZED=1) deployments no longer pass each other
# pictures of more than 4 MiB.
#
# Expected: the switch makes calls faster, and what could be passed before still can.
# Behaviour: calls between deployments go by gRPC then, whose messages end at 4 MiB, both what is sent and what is answered:
# behind an HTTP ingress the client gets status 500. Without the switch the same pictures arrive. What lifts the bound is
# RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH.
# Output seen: answers of 3 and 5 MiB, arguments of 3 and 5 MiB: as it is: 200 200 200 200; with the switch: 200 500 200 500;
# with the bound lifted, too: 200 200 200 200
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

    async def look(self, picture: bytes) -> int:
        return len(picture)


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Door:
    def __init__(self, painter) -> None:
        self.painter = painter

    async def __call__(self, request: Request) -> Response:
        num_bytes = int(request.query_params["bytes"])
        if request.query_params["way"] == "answer":
            seen = len(await self.painter.paint.remote(num_bytes))
        else:
            seen = await self.painter.look.remote(bytes(num_bytes))
        return Response(str(seen))


ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(Door.bind(Painter.bind()))
for way in ("answer", "argument"):
    for num_bytes in (3 * 2**20, 5 * 2**20):
        address = f"http://127.0.0.1:{sys.argv[1]}/?way={way}&bytes={num_bytes}"
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
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
echo "answers of 3 and 5 MiB, arguments of 3 and 5 MiB: as it is: $before; with the switch: $optimized;"
echo "with the bound lifted, too: $lifted"
[ "$before" = "200 200 200 200" ] && [ "$optimized" = "200 500 200 500" ] && [ "$lifted" = "200 200 200 200" ]
echo "as it was seen"
