"""The generator's service: one thread steps the engine, callers await their pictures.

The champions of the registry are looked up at start and every few seconds. A new set goes live
between two steps; pictures on their way finish on the set that they began with. While the registry
is down, or offers a set that cannot be trusted, what is served stays. One that starts meanwhile
begins with what was served last, and where that is not known it refuses: pictures by the base model
alone are not what was asked.
"""

import asyncio
import logging
import os
import queue
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairgen.adapters import Adapter, fingerprint, load_adapter
from fairgen.backbones import load_backbone
from fairgen.engine import Engine
from fairgen.pictures import Event as EngineEvent
from fairgen.pictures import Failed, Painted, Picture, Ticket
from pipelines.recipe import Recipe
from pipelines.registry import Champion, ChampionSet, Registry, impatient
from pipelines.serve.errors import RequestError, refused_field
from pipelines.serve.files import encode
from pipelines.serve.kept import KeptSets
from pipelines.serve.orders import Delivery, EngineState, Order
from pipelines.serve.schemas import AdapterUsed, AttributeInfo, CategoryInfo, Provenance
from pipelines.serve.settings import ServeSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Swap:
    attribute: str
    champions: ChampionSet
    adapters: dict[str, Adapter]


class GeneratorService:
    """An engine, its thread, and the champions that it serves; usable without Serve."""

    def __init__(self, settings: ServeSettings, recipe: Recipe) -> None:
        self._settings, self._recipe = settings, recipe
        backbone = load_backbone(recipe.load_pipe(), recipe.generation.size_px)
        self._engine = Engine(backbone, settings.max_rows)
        self._fingerprint = fingerprint(self._engine.backbone.denoiser)
        self._served: dict[str, ChampionSet] = {}
        self._step_s, self._reloads, self._failed_reloads = 0.0, 0, 0
        self._refused: set[tuple[Champion, ...]] = set()
        self._kept = KeptSets(settings.home, recipe) if settings.home else None
        self._known = self._informed = settings.tracking_uri is None
        self._swaps: queue.Queue[_Swap] = queue.Queue()
        self._mailboxes: dict[Ticket, tuple[asyncio.AbstractEventLoop, asyncio.Queue]] = {}
        self._lock = threading.Lock()
        self._wake, self._closed, self._look = (threading.Event() for _ in range(3))
        self._folder = tempfile.TemporaryDirectory(prefix="fairgen-champions-")
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

        Raises RequestError while the registry has not been reached and nothing is known of it.
        """
        if not self._informed:
            raise RequestError(
                503,
                "the registry has not been reached yet, so no adapters are known",
                code="unavailable",
                retry_after_s=5,
            )
        served = self.served
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
            failed_reloads=self._failed_reloads,
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
        self._folder.cleanup()

    async def paint(self, orders: Sequence[Order], model: str) -> AsyncIterator[Delivery]:
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
            yield Delivery(orders[0].index, b"")  # accepted
            while open_orders:
                event = await mailbox.get()
                order = orders[event.index]
                if isinstance(event, Failed):
                    open_orders -= 1
                    yield Delivery(order.index, b"", error=str(event.error))
                    continue
                open_orders -= event.final
                yield await asyncio.to_thread(self._deliver, order, event, served, model)
        finally:
            with self._lock:
                del self._mailboxes[ticket]
            if open_orders:
                self._engine.cancel(ticket)

    def _picture(self, order: Order, served: dict[str, ChampionSet]) -> Picture:
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
        return Picture(
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
        self, order: Order, event: Painted, served: dict[str, ChampionSet], model: str
    ) -> Delivery:
        size = f"{event.image.width}x{event.image.height}"
        if not event.final:
            content = encode(event.image, order.output_format, None, order.output_compression)
            partial = order.preview_at.index(event.step)
            return Delivery(order.index, content, partial=partial, size=size)
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
        return Delivery(order.index, content, provenance=provenance, size=size, engine=self.state())

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
        """Ask the registry; one that is down holds nothing up, the next look asks it again."""
        with impatient():
            self._look_up_champions()

    def _look_up_champions(self) -> None:
        """Queue every new set of champions that can be trusted; never raise."""
        if self._settings.tracking_uri is None:
            return
        try:
            registry = Registry(self._settings.tracking_uri, self._recipe)
            found = registry.champions()
        except Exception as error:  # the registry may be down: what is served stays
            log.warning("the registry cannot be read, what is served stays: %s", error)
            self._failed_reloads += 1
            if not self._known:
                self._recall()
            return
        for attribute, champions in found.items():
            served = self._served.get(attribute)
            offered = tuple(champions.members.values())
            if champions == served or offered in self._refused:
                continue
            try:
                adapters = {
                    category: self._trusted(registry, champion)
                    for category, champion in champions.members.items()
                }
            except ValueError as error:
                self._refused.add(offered)
                self._failed_reloads += 1
                log.error("adapter set %s is refused: %s", champions.adapter_set, error)
            except Exception as error:
                log.warning("adapter set %s cannot be had: %s", champions.adapter_set, error)
                self._failed_reloads += 1
            else:
                self._offer(_Swap(attribute, champions, adapters))
                self._keep(attribute, champions, adapters)
        self._known = True

    def _offer(self, swap: _Swap) -> None:
        """Let a set go live at the next step."""
        self._swaps.put(swap)
        self._wake.set()

    def _keep(self, attribute: str, champions: ChampionSet, adapters: dict[str, Adapter]) -> None:
        """Keep a set for a start without a registry."""
        if self._kept is None:
            return
        try:
            self._kept.keep(attribute, champions, adapters)
        except OSError as error:  # a full disk: the endpoint itself needs nothing of it
            log.warning("adapter set %s is not kept: %s", champions.adapter_set, error)

    def _recall(self) -> None:
        """Begin with the sets that were served last."""
        for attribute, (champions, folders) in self._kept.recall().items() if self._kept else ():
            try:
                adapters = {
                    category: self._checked(champions.members[category], folder)
                    for category, folder in folders.items()
                }
            except ValueError as error:
                log.error("adapter set %s is refused: %s", champions.adapter_set, error)
            else:
                self._offer(_Swap(attribute, champions, adapters))
                self._known = True

    def _trusted(self, registry: Registry, champion: Champion) -> Adapter:
        """Return a champion's adapter. Raises ValueError unless it is what the registry says."""
        return self._checked(champion, registry.download(champion, Path(self._folder.name)))

    def _checked(self, champion: Champion, folder: Path) -> Adapter:
        adapter = load_adapter(folder, self._fingerprint, self._recipe.loading.siblings)
        if adapter.sha256 != champion.sha256:
            raise ValueError(
                f"{champion.name} version {champion.version}: got sha256 {adapter.sha256}, "
                f"the registry says {champion.sha256}"
            )
        self._engine.check_adapter(_loaded_name(champion), adapter)
        return adapter

    def _take_swaps(self) -> None:
        """Between two steps, let queued sets go live; the old ones retire with their last row."""
        known = self._known
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
        self._informed |= known


def _used(champion: Champion) -> AdapterUsed:
    return AdapterUsed(name=champion.name, version=champion.version, sha256=champion.sha256)


def _loaded_name(champion: Champion) -> str:
    return f"{champion.name}@{champion.version}"
