"""Two other ways to serve the same pictures behind Ray Serve, for the benchmark only."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from ray import serve
from starlette.requests import Request

from fairgen.attributes import adapter_name
from fairgen.backbones import pack_weights
from fairgen.pictures import png
from fairgen.pipeline import FairGenPipeline
from pipelines.recipe import Recipe, load_painter, load_pipe

_BATCH = 16
_WAIT_S = 0.05


@serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=1)
class OneAtATime:
    """Plain diffusers: `set_adapters`, paint, the next request."""

    def __init__(self, recipe: Recipe, folders: Sequence[Path]) -> None:
        torch.set_num_threads(1)
        self._recipe, self._pipe = recipe, load_pipe(recipe)
        for folder in folders:
            self._pipe.load_lora_weights(folder, adapter_name=folder.name)

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        self._pipe.set_adapters([adapter_name(*item) for item in body["categories"].items()])
        generator = torch.Generator().manual_seed(body["seed"])
        options = self._recipe.generation.pipe_options()
        return _answer(self._pipe(body["prompt"], generator=generator, **options).images[0])


@serve.deployment(ray_actor_options={"num_cpus": 0}, max_ongoing_requests=256)
class RequestBatches:
    """`@serve.batch`: requests wait for a batch, and all of it ends together.

    Diffusers cannot mix adapters in a batch; it is given our bank, so that all requests of a batch
    share every pass, and our precision. Nor can it mix steps: those of a batch that want as many
    are painted together.
    """

    def __init__(self, recipe: Recipe, folders: Sequence[Path]) -> None:
        torch.set_num_threads(1)
        pipe = load_pipe(recipe).to(load_painter(recipe).dtype)
        pack_weights((pipe.unet, pipe.vae), pipe.device)
        self._recipe, self._fair = recipe, FairGenPipeline(pipe, folders)

    @serve.batch(max_batch_size=_BATCH, batch_wait_timeout_s=_WAIT_S)
    async def _paint(self, bodies: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_steps: dict[int, list[int]] = {}
        for index, body in enumerate(bodies):
            steps = body.get("num_inference_steps", self._recipe.generation.steps)
            by_steps.setdefault(steps, []).append(index)
        answers: dict[int, dict[str, Any]] = {}
        for steps, found in by_steps.items():
            answers |= zip(found, self._together([bodies[i] for i in found], steps), strict=True)
        return [answers[index] for index in range(len(bodies))]

    def _together(self, bodies: list[dict[str, Any]], steps: int) -> list[dict[str, Any]]:
        names = self._fair.bank.names
        on = [{adapter_name(*item) for item in body["categories"].items()} for body in bodies]
        gates = torch.tensor([[float(name in row) for name in names] for row in on])
        with self._fair.bank.gated(torch.cat([torch.zeros_like(gates), gates])):
            images = self._fair.pipe(
                [body["prompt"] for body in bodies],
                generator=[torch.Generator().manual_seed(body["seed"]) for body in bodies],
                **self._recipe.generation.pipe_options() | {"num_inference_steps": steps},
            ).images
        return [_answer(image) for image in images]

    async def __call__(self, request: Request) -> dict[str, Any]:
        return await self._paint(await request.json())


def _answer(image: Image.Image) -> dict[str, Any]:
    return {"data": [{"b64_json": base64.b64encode(png(image)).decode()}]}
