#!/usr/bin/env bash
# langchain-community 0.4.2: what DallEAPIWrapper takes as model_kwargs is never sent, in silence.
#
# Expected: `model_kwargs` is documented beside `quality` as what goes into the request, as it does in LangChain's chat models; a name that
# the wrapper does not know goes there too, with "WARNING! style is not default parameter. style was transferred to model_kwargs."
# Behaviour: run() writes prompt, n, size, model and quality into the request and nothing else. What was transferred is dropped: a
# response_format, a style, a field of a compatible endpoint. Only default_headers and default_query reach the server.
# Output seen: sent ['model', 'n', 'prompt', 'size']; of model_kwargs ['response_format', 'seed', 'style'] none; X-Own: yes
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check langchain-community==0.4.2 openai==3.57.0
"$folder/venv/bin/python" - <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

seen = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen.append((body, self.headers.get("X-Own")))
        answer = json.dumps({"created": 1, "data": [{"url": "http://127.0.0.1/picture.png"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
more = {"response_format": "b64_json", "seed": 7}
wrapper = DallEAPIWrapper(
    base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", style="natural", model_kwargs=more,
    default_headers={"X-Own": "yes"},
)
wrapper.run("a doctor")
server.shutdown()
(body, header), taken = seen[0], sorted(wrapper.model_kwargs)
print(f"sent {sorted(body)}; of model_kwargs {taken} {'some' if set(taken) & set(body) else 'none'}; X-Own: {header}")
assert taken == ["response_format", "seed", "style"] and sorted(body) == ["model", "n", "prompt", "size"], (taken, body)
PY
echo "as it was seen"
