"""The endpoint without Ray: the real services in this process, and champions for them to serve."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import torch
import uvicorn
from fastapi import FastAPI

from fairgen.adapters import Adapter, AdapterMetadata, fingerprint, save_adapter
from fairgen.backbones import load_backbone
from pipelines.recipe import Recipe
from pipelines.registry import Registry
from pipelines.serve.generator import GeneratorService
from pipelines.serve.indicator import Assignment, IndicatorService
from pipelines.serve.metrics import GatewayMetrics
from pipelines.serve.orders import Delivery, Order
from pipelines.serve.schemas import AttributeInfo, ImageRequest
from pipelines.serve.settings import ServeSettings
from pipelines.training_run import TrainedAttribute
from tests.pipelines.test_registry import evaluation_of

_START_TIMEOUT_S = 30


class InProcess:
    """The gateway's backend: one generator and one indicator, called directly."""

    def __init__(self, settings: ServeSettings, recipe: Recipe) -> None:
        self.generator = GeneratorService(settings, recipe)
        self._indicator = IndicatorService(recipe.attributes, settings.fairness)
        self._metrics = GatewayMetrics()

    async def assign(self, request: ImageRequest) -> Assignment:
        served = list(self.generator.served)
        return self._indicator.assign(request.prompt, request.n, request.fairness, served)

    async def paint(self, orders: Sequence[Order], model: str) -> AsyncIterator[Delivery]:
        async for delivery in self.generator.paint(orders, model):
            if delivery.provenance is not None or delivery.error is not None:
                self._metrics.count(delivery)
            yield delivery

    async def attributes(self) -> list[AttributeInfo]:
        return self.generator.attributes()

    async def metrics(self) -> str:
        return self._metrics.render()


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Yield the address of an application that uvicorn serves from a thread, on a free port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    deadline = monotonic() + _START_TIMEOUT_S
    while not server.started:
        if not thread.is_alive() or monotonic() > deadline:
            raise RuntimeError(f"uvicorn did not start within {_START_TIMEOUT_S} s")
        sleep(0.05)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=_START_TIMEOUT_S)


def register_champions(tracking_uri: str, recipe: Recipe, folder: Path, seed: int) -> None:
    """Make random adapters champions of every attribute: they fit the recipe's base and change its
    pictures a little.
    """
    evaluation = evaluation_of(recipe, fd=0.0, hit_rate=0.97)
    with Registry(tracking_uri, recipe) as registry:
        for attribute in recipe.attributes:
            folders = random_adapters(recipe, attribute.name, folder, seed)
            trained = TrainedAttribute(folders=folders, training_seconds=1.0, denoiser_rows=1)
            registry.open_job(attribute.name)
            registered = registry.register_adapter_set(attribute, trained, evaluation)
            registry.close_job(attribute.name, finished=True)
            assert all(version.champion for version in registered)


def random_adapters(
    recipe: Recipe, attribute: str, folder: Path, seed: int, scale: float = 0.02
) -> tuple[Path, ...]:
    """Write one random adapter a category below `folder`; return their folders.

    `scale` is the norm of every projection's change.
    """
    backbone = load_backbone(recipe.load_base())
    base_fingerprint = fingerprint(backbone.denoiser)
    modules = dict(backbone.denoiser.named_modules())
    generator = torch.Generator().manual_seed(seed)
    folders = []
    for category in recipe.attribute(attribute).categories:
        directions = {}
        for path in backbone.projections("qkvo"):
            down = torch.randn(1, modules[path].in_features, generator=generator)
            up = torch.randn(modules[path].out_features, 1, generator=generator)
            directions[path] = down / down.norm(), scale * up / up.norm()
        metadata = AdapterMetadata(
            attribute=attribute, category=category.name, word=category.word,
            base_fingerprint=base_fingerprint, rank=1, alpha=1, eta=2.0,
            projections="qkvo", recipe_hash=recipe.recipe_hash,
        )  # fmt: skip
        adapter = Adapter(metadata, directions)
        save_adapter(adapter, folder / adapter.name)
        folders.append(folder / adapter.name)
    return tuple(folders)
