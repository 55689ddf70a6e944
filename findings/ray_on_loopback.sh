#!/usr/bin/env bash
# ray 2.60.0: `ray.init(_node_ip_address="127.0.0.1")` does not keep a local cluster on the loopback interface. Needs a
# machine with another address than that.
#
# Expected: the address that is given is the node's, and its servers listen there.
# Behaviour: 127.0.0.1, localhost and ::1 are replaced, without a word, by the address of a network card; the object
# manager, the node's agent and the pages of figures then listen on all interfaces. What keeps them on 127.0.0.1 is
# RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, on Linux, too: it is read when ray is imported, and off by default only on the
# systems that it is named after.
# Output seen: asked for 127.0.0.1: got another address; with RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: got 127.0.0.1
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default]==2.60.0"
cat > "$folder/address.py" <<'PY'
import logging
import sys

import ray

given = {"_node_ip_address": sys.argv[1]} if len(sys.argv) > 1 else {}
ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False, **given)
found = ray.nodes()[0]["NodeManagerAddress"]
print("127.0.0.1" if found == "127.0.0.1" else "another address")
PY
export RAY_USAGE_STATS_ENABLED=0
asked=$("$folder/venv/bin/python" "$folder/address.py" 127.0.0.1 2>/dev/null | tail -1)
switched=$(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 "$folder/venv/bin/python" "$folder/address.py" 2>/dev/null | tail -1)
echo "asked for 127.0.0.1: got $asked; with RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0: got $switched"
[ "$asked" = "another address" ] && [ "$switched" = "127.0.0.1" ]
echo "as it was seen"
