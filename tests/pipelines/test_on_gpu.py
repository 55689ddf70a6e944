"""Jobs share a GPU and the endpoint paints on it, and both do what they do on cores."""

import base64
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from openai import OpenAI
from PIL import Image
from ray import serve

from pipelines.recipe.recipe import load_recipe
from pipelines.registry import free_port
from pipelines.serve.app import build
from pipelines.serve.settings import ServeSettings
from pipelines.training.run import find_trained
from tests.pipelines.commands import output_of, start
from tests.pipelines.registered import register_champions
from tests.pipelines.reports import assert_same_adapters

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

PORT = free_port()


def taken_mib() -> float:
    """Return the GPU memory that all processes take together."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


def test_train_all_learns_on_a_gpu_what_it_learns_on_cores(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_recipe("either")
    recipe, most = load_recipe(path), {}  # GPU memory taken at most, MiB
    for place, visible in (("gpu", None), ("cores", "")):
        folder = tmp_path / place
        folder.mkdir()
        before, seen = taken_mib(), [0.0]
        run = start(
            folder, "train-all", str(path), "--no-eval",
            RAY_AUTH_MODE=None, CUDA_VISIBLE_DEVICES=visible,
            NVIDIA_TF32_OVERRIDE="0",  # exact products, or cores cannot be compared with
        )  # fmt: skip
        while run.poll() is None:
            seen.append(taken_mib() - before)
            time.sleep(0.2)
        assert run.returncode == 0, output_of(folder)
        most[place] = max(seen)
    for attribute in recipe.attributes:
        there, here = (
            find_trained(recipe, attribute.name, tmp_path / place / ".fairgen" / "runs")
            for place in most
        )
        assert there and here and there.denoiser_rows == here.denoiser_rows
        assert_same_adapters(there.folders[0].parent, here.folders[0].parent, tolerance=2e-3)
    assert most["gpu"] > 200 > most["cores"]  # a process' context alone takes more


def test_the_endpoint_paints_on_a_gpu_what_it_paints_on_cores(
    cluster: None, tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_recipe("painter")
    register_champions(tracking_uri, load_recipe(path), tmp_path / "adapters", seed=1)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    client = OpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none", max_retries=0)

    def paint(seed: int) -> np.ndarray:
        wanted = {"gender": {["woman", "man"][seed % 2]: 1.0}}
        body = {"seed": seed, "num_inference_steps": 3 + seed % 3, "fairness": wanted}
        (found,) = client.images.generate(prompt="a pilot", extra_body=body).data
        assert found.provenance["categories"]["gender"] == ["woman", "man"][seed % 2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(found.b64_json))), float)

    painted, taken = [], []
    for gpus in (0.5, 0):
        before = taken_mib()
        settings = ServeSettings(recipe=path, tracking_uri=tracking_uri, gpus_per_replica=gpus)
        serve.run(build(settings), name="painter", route_prefix="/")
        with ThreadPoolExecutor(8) as pool:
            painted.append(np.stack(list(pool.map(paint, range(16)))))
        taken.append(taken_mib() - before)
        serve.delete("painter")
    serve.shutdown()
    assert taken[0] > 200 > taken[1]
    assert painted[0].std() > 10
    assert np.abs(painted[0] - painted[1]).max() <= 8  # convolutions of a GPU are in TF32
