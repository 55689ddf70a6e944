#!/usr/bin/env bash
# semantic-kernel 1.45.0: OpenAITextToImage drops the fields that its settings do not list, in silence.
#
# Expected: the docstring of generate_images says "kwargs: Additional arguments, check the openai images.generate documentation for the
# supported arguments"; output_format, style, user, stream or a field of a compatible endpoint goes out, or is refused.
# Behaviour: only prompt, model, size, quality, output_compression, background, n and moderation are sent. The rest is neither sent nor
# refused, whether it came as an argument or as extension_data: one asks for webp and gets png.
# Output seen: sent as arguments ['model', 'n', 'prompt']; as extension_data ['model', 'n', 'prompt']
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check semantic-kernel==1.45.0
"$folder/venv/bin/python" - <<'PY'
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAITextToImage, OpenAITextToImageExecutionSettings

seen = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        seen.append(sorted(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        answer = json.dumps({"created": 1, "data": [{"b64_json": "AAAA"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = AsyncOpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none")
service = OpenAITextToImage(ai_model_id="gpt-image-1", async_client=client)


async def ask():
    more = {"output_format": "webp", "user": "somebody", "style": "vivid"}
    await service.generate_images("a doctor", **more)
    await service.generate_images("a doctor", settings=OpenAITextToImageExecutionSettings(extension_data=more))


asyncio.run(ask())
server.shutdown()
print(f"sent as arguments {seen[0]}; as extension_data {seen[1]}")
assert seen == [["model", "n", "prompt"]] * 2, seen
PY
echo "as it was seen"
