"""The generator's service: planned pictures in, files with their records out; no HTTP, no Ray."""

import asyncio
import math
import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress

from PIL import Image

from fairgen.backbones import PromptReader
from fairgen.base_model import short, storage_of
from fairgen.engine import (
    AdapterNotLoaded,
    Engine,
    EngineState,
    EngineThread,
    Event,
    ImageError,
    ImageJob,
    ImageResult,
    RequestHandle,
    StartImage,
    TooLate,
    check_forecasts,
    measured_max_rows,
)
from fairgen.gate import foreign_signs
from fairgen.provenance import LEAST_PX, Credentials, check_size, encode
from pipelines.recipe import Recipe, digests_of, load_painter
from pipelines.registry import Champion, ChampionPoller, ChampionSet, ServedAdapters, loaded_name
from pipelines.serve.access.errors import RequestError, refused_field
from pipelines.serve.image_plan import (
    ImageUpdate,
    PaintableSizes,
    PlannedImage,
    ReplicaState,
    Start,
)
from pipelines.serve.schemas import (
    AdapterUsed,
    AttributeInfo,
    CategoryInfo,
    Provenance,
    SafetyWord,
    StartRecord,
)
from pipelines.serve.settings import ServeSettings, check_marked_sizes

Served = Mapping[str, ChampionSet]


class GeneratorService:
    """An engine in its thread, and the champions that it paints with; any event loop may ask.

    A new set goes live between two steps; pictures on their way finish on the set that they began
    with.
    """

    def __init__(
        self,
        settings: ServeSettings,
        recipe: Recipe,
        on_death: Callable[[], object] = lambda: None,
    ) -> None:
        """`on_death` is called once should the engine's thread die, when all that was pending has
        failed. Raises ValueError, by name, for what of the base model the engine does not follow,
        and for credentials that cannot sign.
        """
        self._recipe, self._within_s = recipe, settings.limits.timeout_s
        files = settings.credentials
        self.credentials = None if files is None else Credentials.read(files)
        self._mark = settings.mark
        if settings.mark:
            check_marked_sizes(recipe.generation)
        backbone = load_painter(recipe)
        _, height, width = backbone.latent_shape()
        factor = backbone.vae_scale_factor
        self.sizes = PaintableSizes((width * factor, height * factor), factor * backbone.patch_size)
        if settings.mark:
            check_size(*self.sizes.native_px)
        engine = Engine(backbone, settings.max_rows or measured_max_rows(backbone))
        self._loras = digests_of(recipe.generation.loras)
        self._base, self._storage = short(backbone.fingerprint), storage_of(backbone.denoiser)
        solver = backbone.solver(recipe.generation.steps)  # raises now, not at the first request
        if recipe.generation.taylorseer:
            check_forecasts(solver, type(backbone.pipe.scheduler).__name__)
        poller = ChampionPoller(
            recipe,
            settings.tracking_uri,
            settings.home,
            backbone.fingerprint,
            lambda champion, adapter: engine.bank.check(loaded_name(champion), adapter.directions),
        )
        self._backbone, self._reader = backbone, PromptReader(backbone)
        self._engine = EngineThread(engine, max(1, int(settings.cpus_per_replica)), on_death)
        self._adapters = ServedAdapters(
            poller,
            lambda adapters: self._engine.load(adapters).result(),
            self._engine.retire,
            settings.poll_s,
        )
        self._was_complete = False

    @property
    def served(self) -> dict[str, ChampionSet]:
        """Return attribute -> the champions that new pictures are painted with."""
        return dict(self._adapters.served)

    @property
    def engine_state(self) -> EngineState:
        """How the engine stands."""
        return self._engine.state

    def attributes(self) -> list[AttributeInfo]:
        """Return the served attributes with their versions and measured confusions.

        Raises RequestError until every attribute that has champions is served for the first time:
        pictures without its adapters are not what was asked.
        """
        served = self.served
        if not self._was_complete:
            missing = self._adapters.missing
            if missing is None or missing:
                raise RequestError(
                    503,
                    f"adapters of {sorted(missing) if missing else 'any attribute'} "
                    "cannot be had yet: the registry, or what it offers, is away or damaged",
                    code="unavailable",
                    retry_after_s=5,
                )
            self._was_complete = True
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

    def state(self) -> ReplicaState:
        """Return how the engine and its adapters stand."""
        engine = self._engine.state
        return ReplicaState(
            process=f"{socket.gethostname()}-{os.getpid()}",
            waiting=engine.waiting,
            batch_rows=engine.batch_rows,
            step_s=engine.step_s,
            failed_batches=engine.failed_batches,
            reloads=self._adapters.num_reloads,
            failed_reloads=self._adapters.num_failed,
            credentials_end_s=self.credentials.expires.timestamp() if self.credentials else None,
        )

    def prompt_cut_at(self, prompt: str) -> int | None:
        """Return the index of the first character of a prompt that no text encoder of the base
        model reads; None where all is read.
        """
        return self._reader.cut_at(prompt)

    def check_picture(self, width_px: int, height_px: int, num_steps: int) -> float:
        """Return what a picture weighs, as many as of the native size at the recipe's own steps.

        Raises ValueError, with what is allowed, for a size or a number of steps that the model
        cannot paint, or cannot paint large enough for a mark.
        """
        if self._mark and width_px and min(width_px, height_px) < LEAST_PX:
            raise ValueError(
                f"size: got {width_px}x{height_px}, allowed are {LEAST_PX} pixels and more a side, "
                "since pictures are marked"
            )
        shape, native = (
            self._backbone.latent_shape(width_px, height_px),
            self._backbone.latent_shape(),
        )
        self._backbone.solver(num_steps, shape)
        return math.prod(shape) / math.prod(native) * num_steps / self._recipe.generation.steps

    def poll_now(self) -> None:
        """Look the champions up at once, not at the next poll."""
        self._adapters.poll_now()

    def check_alive(self) -> None:
        """Raise RuntimeError when the engine's thread has ended."""
        self._engine.check_alive()

    def close(self) -> None:
        """End the threads."""
        self._adapters.close()
        self._engine.close()

    async def paint(
        self, plan: Sequence[PlannedImage], model: str, caller: str = ""
    ) -> AsyncGenerator[ImageUpdate, None]:
        """Yield, once all is accepted, an empty update, then previews and finished pictures.
        Callers share the engine's time.

        Stopping early frees their rows. Raises RequestError for what cannot be painted, or not in
        time.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def tell(event: Event) -> None:
            with suppress(RuntimeError):  # the loop is closed: who asked has ended
                loop.call_soon_threadsafe(events.put_nowait, event)

        handle, served = await self._submit(plan, caller, tell)
        num_left = len(plan)
        try:
            yield ImageUpdate(plan[0].index, b"")  # accepted
            while num_left:
                event = await events.get()
                planned = plan[event.index]
                if isinstance(event, ImageError):
                    if self._engine.death:
                        raise _ended()
                    num_left -= 1
                    yield ImageUpdate(planned.index, b"", error=event.error)
                    continue
                num_left -= event.final
                yield await asyncio.to_thread(self._update, planned, event, served, model)
        finally:
            if num_left:
                self._engine.cancel(handle)

    async def _submit(
        self, plan: Sequence[PlannedImage], caller: str, on_event: Callable[[Event], object]
    ) -> tuple[RequestHandle, Served]:
        """Return the accepted request, and the sets that it is painted with."""
        starts = _start_images(plan)
        while True:
            served = self._adapters.served
            jobs = [_job(planned, served, starts) for planned in plan]
            accepted = self._engine.submit(jobs, on_event, caller, self._within_s)
            try:
                return await asyncio.shield(asyncio.wrap_future(accepted)), served
            except AdapterNotLoaded as error:
                if served is self._adapters.served:
                    raise refused_field(error) from error
                # another set went live in between: the request gets that one
            except ValueError as error:
                raise refused_field(error) from error
            except TooLate as error:
                raise RequestError(
                    429,
                    f"the pictures would not be there in time: it takes {error}",
                    code="overloaded",
                    retry_after_s=math.ceil(error.seconds - self._within_s),
                ) from error
            except RuntimeError as error:
                raise _ended() from error
            except asyncio.CancelledError:
                accepted.add_done_callback(self._cancel_accepted)
                raise

    def _cancel_accepted(self, accepted: "Future[RequestHandle]") -> None:
        """Free the rows of a request whose caller left before it was accepted."""
        if accepted.exception() is None:
            self._engine.cancel(accepted.result())

    def _safety_word(self, flagged: bool | None) -> SafetyWord:
        if flagged is not None:
            return "flagged" if flagged else "passed"
        return "none" if self._recipe.generation.safety_checker else "off"

    def _update(
        self, planned: PlannedImage, event: ImageResult, served: Served, model: str
    ) -> ImageUpdate:
        size = f"{event.image.width}x{event.image.height}"
        is_edit = planned.start is not None
        if not event.final:
            content = encode(
                event.image,
                planned.output_format,
                compression=planned.output_compression,
                is_edit=is_edit,
            )
            partial = planned.preview_at.index(event.step)
            return ImageUpdate(planned.index, content, partial=partial, size=size)
        used = [served[name].members[category] for name, category in planned.categories.items()]
        provenance = Provenance(
            model=model,
            prompt=planned.prompt,
            seed=planned.seed,
            num_inference_steps=planned.num_steps,
            guidance_scale=planned.guidance_scale,
            guidance_start=planned.guidance_interval[0],
            guidance_stop=planned.guidance_interval[1],
            taylorseer=planned.taylorseer,
            loras=self._loras,
            categories=planned.categories,
            probability=planned.probability,
            adapters=tuple(_used(champion) for champion in used),
            gate=planned.gate,
            base=self._base,
            storage=self._storage,
            safety_checker=self._safety_word(event.flagged),
            negative_prompt=planned.negative_prompt,
            removed=planned.removed,
            prompt_cut_at=self._reader.cut_at(planned.prompt),
            foreign_signs=foreign_signs(planned.prompt),
            marked=self._mark,
            start=_start_record(planned.start),
        )
        content = encode(
            event.image,
            planned.output_format,
            provenance,
            compression=planned.output_compression,
            credentials=self.credentials,
            mark=self._mark,
            is_edit=is_edit,
        )
        return ImageUpdate(
            planned.index,
            content,
            provenance=provenance,
            size=size,
            replica=self.state(),
            num_tokens=self._reader.num_tokens(planned.prompt),
        )


def _start_images(plan: Sequence[PlannedImage]) -> dict[Start, StartImage]:
    """Return the pictures to begin from, once each."""
    return {
        start: StartImage(
            image=Image.frombytes("RGB", (start.width_px, start.height_px), start.rgb),
            strength=start.strength,
            mask=None
            if start.mask is None
            else Image.frombytes("L", (start.width_px, start.height_px), start.mask),
        )
        for start in {planned.start for planned in plan}
        if start is not None
    }


def _start_record(start: Start | None) -> StartRecord | None:
    if start is None:
        return None
    return StartRecord(sha256=start.sha256, strength=start.strength, masked=start.mask is not None)


def _job(planned: PlannedImage, served: Served, starts: Mapping[Start, StartImage]) -> ImageJob:
    gates = {}
    for attribute, category in planned.categories.items():
        if attribute not in served:
            raise RequestError(
                400,
                f"fairness: got {attribute!r}, served are {sorted(served)}",
                param="fairness",
                code="attribute_not_served",
            )
        gates[loaded_name(served[attribute].members[category])] = 1.0
    return ImageJob(
        prompt=planned.prompt,
        seed=planned.seed,
        gates=gates,
        num_steps=planned.num_steps,
        guidance_scale=planned.guidance_scale,
        guidance_interval=planned.guidance_interval,
        taylorseer=planned.taylorseer,
        negative_prompt=planned.negative_prompt,
        width_px=planned.width_px,
        height_px=planned.height_px,
        preview_at=planned.preview_at,
        start=None if planned.start is None else starts[planned.start],
    )


def _ended() -> RequestError:
    return RequestError(
        503, "the generator has ended and is replaced", code="unavailable", retry_after_s=5
    )


def _used(champion: Champion) -> AdapterUsed:
    return AdapterUsed(name=champion.name, version=champion.version, sha256=champion.sha256)
