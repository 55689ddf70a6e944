"""The generator's service: one thread steps the engine, callers await their pictures.

The champions of the registry are looked up at start and every few seconds. A new set goes live
between two steps; pictures on their way finish on the set that they began with. While the registry
is down, or offers a set that cannot be trusted, what is served stays.
"""

import asyncio
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence

from fairgen.adapters import fingerprint
from fairgen.backbones import load_backbone
from fairgen.engine.engine import Engine
from fairgen.engine.requests import Event as EngineEvent
from fairgen.engine.requests import ImageError, ImageJob, ImageResult, RequestHandle
from pipelines.recipe.recipe import Recipe
from pipelines.registry import Champion, ChampionSet
from pipelines.registry.champions import ChampionPoller, OfferedSet
from pipelines.serve.access.errors import RequestError, refused_field
from pipelines.serve.files import encode
from pipelines.serve.image_plan import EngineState, ImageUpdate, PlannedImage
from pipelines.serve.schemas import AdapterUsed, AttributeInfo, CategoryInfo, Provenance
from pipelines.serve.settings import ServeSettings

log = logging.getLogger(__name__)


class GeneratorService:
    """An engine, its thread, and the champions that it serves; usable without Serve."""

    def __init__(self, settings: ServeSettings, recipe: Recipe) -> None:
        self._settings, self._recipe = settings, recipe
        backbone = load_backbone(recipe.load_pipe(), recipe.generation.size_px)
        self._engine = Engine(backbone, settings.max_rows)
        self._source = ChampionPoller(
            settings,
            recipe,
            fingerprint(backbone.denoiser),
            lambda champion, adapter: self._engine.check_adapter(_loaded_name(champion), adapter),
        )
        self._served: dict[str, ChampionSet] = {}
        self._step_s, self._reloads = 0.0, 0
        self._complete = False
        self._swaps: queue.Queue[OfferedSet] = queue.Queue()
        self._mailboxes: dict[RequestHandle, tuple[asyncio.AbstractEventLoop, asyncio.Queue]] = {}
        self._lock = threading.Lock()
        self._wake, self._closed, self._look = (threading.Event() for _ in range(3))
        self._look_up()
        self._take_swaps()
        self._threads = [
            threading.Thread(target=self._step_forever, name="engine", daemon=True),
            threading.Thread(target=self._poll_forever, name="champions", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def served(self) -> dict[str, ChampionSet]:
        """Return attribute -> the champions that new pictures are painted with."""
        return dict(self._served)

    def attributes(self) -> list[AttributeInfo]:
        """Return the served attributes with their versions and measured confusions.

        Raises RequestError until every attribute that has champions is served for the first time:
        pictures without its adapters are not what was asked.
        """
        served, wanted = self.served, self._source.wanted
        if not self._complete:
            if wanted is None or not wanted <= served.keys():
                raise RequestError(
                    503,
                    f"adapters of {sorted(wanted - served.keys()) if wanted else 'any attribute'} "
                    "cannot be had yet: the registry, or what it offers, is away or damaged",
                    code="unavailable",
                    retry_after_s=5,
                )
            self._complete = True
        return [
            AttributeInfo(
                name=attribute.name,
                adapter_set=served[attribute.name].adapter_set,
                categories=[
                    CategoryInfo(
                        name=category.name,
                        word=category.word,
                        adapter=_used(served[attribute.name].members[category.name]),
                        confusion=served[attribute.name].members[category.name].confusion,
                    )
                    for category in attribute.categories
                ],
            )
            for attribute in self._recipe.attributes
            if attribute.name in served
        ]

    @property
    def engine(self) -> Engine:
        return self._engine

    def state(self) -> EngineState:
        """Return how the engine stands."""
        return EngineState(
            process=f"{socket.gethostname()}-{os.getpid()}",
            waiting=self._engine.waiting,
            batch_rows=self._engine.last_rows,
            step_s=self._step_s,
            reloads=self._reloads,
            failed_reloads=self._source.num_failed,
        )

    def check_size(self, width_px: int, height_px: int) -> None:
        """Raise ValueError, with what is allowed, for a size that the model cannot paint."""
        self._engine.backbone.latent_shape(width_px, height_px)

    def look_now(self) -> None:
        """Look the champions up at once, not at the next poll."""
        self._look.set()

    def check_alive(self) -> None:
        """Raise RuntimeError when the engine's thread has ended."""
        if not self._threads[0].is_alive():
            raise RuntimeError("the engine's thread has ended")

    def close(self) -> None:
        """End the threads."""
        self._closed.set()
        self._wake.set()
        self._look.set()
        for thread in self._threads:
            thread.join(timeout=30)
        self._source.close()

    async def paint(self, orders: Sequence[PlannedImage], model: str) -> AsyncIterator[ImageUpdate]:
        """Yield, once all is accepted, an empty delivery, then previews and finished pictures.

        Stopping early frees their rows.

        Raises RequestError for what cannot be painted.
        """
        mailbox: asyncio.Queue[EngineEvent] = asyncio.Queue()
        with self._lock:
            served = self._served
            pictures = [self._picture(order, served) for order in orders]
            try:
                ticket = self._engine.submit(pictures)
            except ValueError as error:
                raise refused_field(error) from error
            self._mailboxes[ticket] = (asyncio.get_running_loop(), mailbox)
        self._wake.set()
        open_orders = len(orders)
        try:
            yield ImageUpdate(orders[0].index, b"")  # accepted
            while open_orders:
                event = await mailbox.get()
                order = orders[event.index]
                if isinstance(event, ImageError):
                    open_orders -= 1
                    yield ImageUpdate(order.index, b"", error=str(event.error))
                    continue
                open_orders -= event.final
                yield await asyncio.to_thread(self._deliver, order, event, served, model)
        finally:
            with self._lock:
                del self._mailboxes[ticket]
            if open_orders:
                self._engine.cancel(ticket)

    def _picture(self, order: PlannedImage, served: dict[str, ChampionSet]) -> ImageJob:
        gates = {}
        for attribute, category in order.categories.items():
            if attribute not in served:
                raise RequestError(
                    400,
                    f"fairness: got {attribute!r}, served are {sorted(served)}",
                    param="fairness",
                    code="attribute_not_served",
                )
            gates[_loaded_name(served[attribute].members[category])] = 1.0
        return ImageJob(
            prompt=order.prompt,
            seed=order.seed,
            gates=gates,
            num_steps=order.num_steps,
            guidance_scale=order.guidance_scale,
            negative_prompt=order.negative_prompt,
            width_px=order.width_px,
            height_px=order.height_px,
            preview_at=order.preview_at,
        )

    def _deliver(
        self, order: PlannedImage, event: ImageResult, served: dict[str, ChampionSet], model: str
    ) -> ImageUpdate:
        size = f"{event.image.width}x{event.image.height}"
        if not event.final:
            content = encode(event.image, order.output_format, None, order.output_compression)
            partial = order.preview_at.index(event.step)
            return ImageUpdate(order.index, content, partial=partial, size=size)
        used = [served[name].members[category] for name, category in order.categories.items()]
        provenance = Provenance(
            model=model,
            prompt=order.prompt,
            seed=order.seed,
            num_inference_steps=order.num_steps,
            guidance_scale=order.guidance_scale,
            categories=order.categories,
            probability=order.probability,
            adapters=tuple(_used(champion) for champion in used),
            gate=order.gate,
        )
        content = encode(event.image, order.output_format, provenance, order.output_compression)
        return ImageUpdate(
            order.index, content, provenance=provenance, size=size, engine=self.state()
        )

    def _step_forever(self) -> None:
        import torch

        torch.set_num_threads(max(1, int(self._settings.cpus_per_replica)))
        while not self._closed.is_set():
            self._take_swaps()
            if not self._engine.pending:
                self._wake.wait(timeout=0.5)
                self._wake.clear()
                continue
            started = time.monotonic()
            events = self._engine.step()
            self._step_s = time.monotonic() - started
            for event in events:
                with self._lock:
                    if event.ticket in self._mailboxes:
                        loop, mailbox = self._mailboxes[event.ticket]
                        loop.call_soon_threadsafe(mailbox.put_nowait, event)

    def _poll_forever(self) -> None:
        while not self._closed.is_set():
            self._look.wait(timeout=self._settings.poll_s)
            self._look.clear()
            if not self._closed.is_set():
                self._look_up()

    def _look_up(self) -> None:
        """Queue what the champions' source offers in place of what is served."""
        for offered in self._source.poll(self._served):
            self._swaps.put(offered)
            self._wake.set()

    def _take_swaps(self) -> None:
        """Between two steps, let queued sets go live; the old ones retire with their last row."""
        while not self._swaps.empty():
            swap = self._swaps.get()
            before = self._served.get(swap.attribute)
            if before == swap.champions:
                continue
            old = {_loaded_name(c) for c in before.members.values()} if before else set()
            new = {_loaded_name(c): category for category, c in swap.champions.members.items()}
            self._engine.retain(list(new))
            for name in new.keys() - set(self._engine.bank.names):
                self._engine.load(name, swap.adapters[new[name]])
            with self._lock:  # a picture is submitted before or after, never in between
                self._served = self._served | {swap.attribute: swap.champions}
                self._engine.retire(sorted(old - new.keys()))
            self._reloads += 1
            log.info("%s is served by adapter set %s", swap.attribute, swap.champions.adapter_set)


def _used(champion: Champion) -> AdapterUsed:
    return AdapterUsed(name=champion.name, version=champion.version, sha256=champion.sha256)


def _loaded_name(champion: Champion) -> str:
    return f"{champion.name}@{champion.version}"
