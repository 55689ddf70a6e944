#!/usr/bin/env bash
# llama-index-tools-openai-image-generation 0.7.0: with download=True the picture is written anew, and what its file says of itself is lost.
#
# Expected: "the image will be downloaded to the cache directory" keeps the file that came, with its text chunks, XMP and Content
# Credentials; the call returns its path, as its type `str` and its case without download do.
# Behaviour: the file is opened and saved by Pillow, which takes over the pixels: text chunks and every other chunk are gone, the bytes are
# others. The path comes as a tuple of one. Of several pictures only the first is kept, of those that were paid for.
# Output seen: came 112 bytes with 'Made by a model'; saved 69 bytes with None; returned a tuple; files kept of two pictures: 1
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check llama-index-tools-openai-image-generation==0.7.0 openai==3.57.0 pillow
cat > "$folder/saved.py" <<'PY'
import base64
import io
import json
import os
import pathlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from PIL import Image, PngImagePlugin

notes, file = PngImagePlugin.PngInfo(), io.BytesIO()
notes.add_itxt("Description", "Made by a model")
Image.new("RGB", (1, 1)).save(file, format="PNG", pnginfo=notes)
came = file.getvalue()
data = [{"b64_json": base64.b64encode(came).decode()}] * 2


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"created": 1, "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["OPENAI_BASE_URL"] = f"http://127.0.0.1:{server.server_port}/v1"

from llama_index.tools.openai.image_generation.base import OpenAIImageGenerationToolSpec

cache = pathlib.Path(sys.argv[1])
tool = OpenAIImageGenerationToolSpec(api_key="none", cache_dir=str(cache))
returned = tool.image_generation("a doctor", model="dall-e-2", num_images=2, download=True)
server.shutdown()
kept = list(cache.iterdir())
saved, text = kept[0].read_bytes(), Image.open(kept[0]).info.get("Description")
print(
    f"came {len(came)} bytes with 'Made by a model'; saved {len(saved)} bytes with {text}; "
    f"returned a {type(returned).__name__}; files kept of two pictures: {len(kept)}"
)
assert saved != came and text is None and isinstance(returned, tuple) and len(kept) == 1
PY
"$folder/venv/bin/python" "$folder/saved.py" "$folder/cache"
echo "as it was seen"
