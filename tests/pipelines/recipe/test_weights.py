"""Weights as people have them: variants, shards, and pickles, which are never read."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint
from pipelines.recipe import check_models, load_recipe
from pipelines.recipe.loading import LoadingConfig, load_pipeline
from tests.families import tiny


def loaded(folder: Path, **loading: Any) -> str:
    """Return the fingerprint of a folder's denoiser, as a recipe loads it."""
    pipe = load_pipeline("base", str(folder), LoadingConfig(**loading))
    return fingerprint(load_backbone(pipe).denoiser)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["SD 1.x", "SDXL", "FLUX.1 dev"])
@pytest.mark.parametrize("shard", ["10GB", "20KB"])
@pytest.mark.parametrize("variant", [None, "fp16", "ema"])
def test_the_variant_of_a_folder_that_holds_only_one_is_found(
    family: str, shard: str, variant: str | None, tmp_path: Path
) -> None:
    pipe = tiny(family)
    pipe.save_pretrained(tmp_path, variant=variant, max_shard_size=shard)
    shards = len(list(tmp_path.glob(f"{load_backbone(pipe).denoiser_name}/*.safetensors")))
    assert (shards > 1) == (shard == "20KB")
    assert loaded(tmp_path) == fingerprint(load_backbone(pipe).denoiser)


def test_weights_without_a_variant_come_first_and_one_that_is_asked_for_before_them(
    tmp_path: Path,
) -> None:
    plain, other = tiny("SD 1.x", seed=1), tiny("SD 1.x", seed=2)
    plain.save_pretrained(tmp_path)
    other.save_pretrained(tmp_path, variant="fp16")
    assert loaded(tmp_path) == fingerprint(plain.unet)
    assert loaded(tmp_path, variant="fp16") == fingerprint(other.unet)


def test_of_several_variants_one_has_to_be_named(tmp_path: Path) -> None:
    for variant in ("fp16", "ema"):
        tiny("SD 1.x").save_pretrained(tmp_path, variant=variant)
    message = r"^base: got 'base', whose weights are in the variants \['ema', 'fp16'\]; allowed is"
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path)
    assert loaded(tmp_path, variant="ema")
    for file in (tmp_path / "vae").glob("*.ema.*"):
        file.unlink()
    assert loaded(tmp_path), "the one in which all parts are"
    for file in (tmp_path / "unet").glob("*.fp16.*"):
        file.unlink()
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path)


@pytest.mark.parametrize("component", ["unet", "text_encoder", "vae"])
def test_a_part_that_is_a_pickle_is_refused_before_it_is_opened(
    component: str, write_recipe: Any, tmp_path: Path
) -> None:
    tiny("SD 1.x").save_pretrained(tmp_path / "base")
    (file,) = (tmp_path / "base" / component).glob("*.safetensors")
    name = "pytorch_model.bin" if component == "text_encoder" else "diffusion_pytorch_model.bin"
    torch.save({}, file.with_name(name))
    assert loaded(tmp_path / "base"), "beside safetensors nobody reads it"
    file.unlink()
    message = rf"^base: got .*, whose {component} is {name}, a pickle, which is never read; allowed"
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path / "base")
    with pytest.raises(ValueError, match=message):
        check_models(load_recipe(write_recipe(), str(tmp_path / "base")))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A hub of this machine: owner/name -> the status of its files; what is said of a model itself
    is open to everybody.
    """
    statuses: dict[str, int] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            status = statuses.get("/".join(self.path.split("/")[1:3]), 404)
            self.send_response(status)
            if status == 403:
                self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", "2")
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            known = b'{"id": "owner/name"}'
            self.send_header("Content-Length", str(len(known)))
            self.end_headers()
            self.wfile.write(known)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template[1] + template[2]
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_gated_model_of_the_hub_is_told_before_anything_is_loaded(hub: dict[str, int]) -> None:
    hub |= {"owner/open": 200, "owner/gated": 403}
    check_models(load_recipe("portraits", base="owner/open"))
    for base in ("owner/gated", "owner/none"):
        message = (
            rf"^base: got '{base}', which is no folder and cannot be had from the hub: .*40[34]"
        )
        with pytest.raises(ValueError, match=message):
            check_models(load_recipe("portraits", base=base))


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is there")
def test_a_base_that_wants_a_package_which_is_not_there_is_refused_in_one_sentence(
    tmp_path: Path,
) -> None:
    tiny("Qwen-Image 2.1").save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    parts = json.loads(index.read_text()) | {"processor": ["transformers", "Qwen3VLProcessor"]}
    index.write_text(json.dumps(parts))
    of_films = {"video_processor_type": "Qwen3VLVideoProcessor"}
    (tmp_path / "processor" / "video_preprocessor_config.json").write_text(json.dumps(of_films))
    message = r"^base: got 'base', which cannot be loaded: .*requires the Torchvision library but"
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path)
