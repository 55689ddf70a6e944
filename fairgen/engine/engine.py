"""The engine: rows join and leave between denoising steps; one forward serves all of a shape.

The engine knows pictures and who asks for them: with whatever prompt, adapters or number of steps,
those of one shape share forward passes, and callers share the time of the passes.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence

import torch
from PIL import Image

from fairgen.adapters import Adapter
from fairgen.backbones import Backbone, know_signatures, put_back, put_channels_last
from fairgen.bank import AdapterBank
from fairgen.engine.backlog import ScheduledImage
from fairgen.engine.decoder import DecodedImage, Decoder
from fairgen.engine.edits import first_step
from fairgen.engine.isolation import Isolation, Outcome
from fairgen.engine.requests import (
    AdapterNotLoaded,
    Event,
    ImageError,
    ImageJob,
    ImageResult,
    RequestHandle,
    TooLate,
)
from fairgen.engine.runner import Row, Runner
from fairgen.engine.scheduler import Scheduler
from fairgen.sampling import guided_steps

log = logging.getLogger(__name__)


class Engine:
    """Paints pictures in shared passes of at most `max_rows` denoiser rows of the native size.

    A guided picture takes two rows, one of them unconditional, which stays bare, at the steps that
    are guided; a larger one takes as many more as its latents are larger, since memory follows
    them. One that is over the bound by itself is painted alone. `Scheduler` says whose turn it is.
    One thread owns an engine and calls all of its methods; `EngineThread` is for callers in others.
    """

    def __init__(
        self, backbone: Backbone, max_rows: int = 32, cache_key_values: bool = True
    ) -> None:
        """`cache_key_values` off computes the text's keys and values anew at every step, where they
        are always the same.

        Raises ValueError, by name, for what of the pipeline's scheduler, codec or configuration
        would not be painted as the pipeline itself does.
        """
        if max_rows < 2:
            raise ValueError(f"max_rows: got {max_rows}, allowed are 2 or more")
        backbone.check()
        self.backbone = backbone
        self.bank = AdapterBank(
            backbone.denoiser, backbone.projections("qkvo"), backbone.device, backbone.columns()
        )
        self._device = backbone.device
        self._laid_out = put_channels_last((backbone.denoiser, backbone.codec.vae), self._device)
        know_signatures(backbone.denoiser)
        self._scheduler = Scheduler(max_rows)
        self._runner = Runner(backbone, self.bank, cache_key_values)
        self._decoder = Decoder(backbone)
        self._begun, self._denoised, self._decoded = (
            Isolation(what) for what in ("begun", "denoised", "decoded")
        )
        self._rows: dict[ScheduledImage, Row] = {}
        self._retiring: set[str] = set()
        self.last_rows = 0  # denoiser rows of the last step

    def load(self, name: str, adapter: Adapter) -> None:
        """Load an adapter under a name, or keep the one of that name that was to be retired.

        Raises ValueError for a name that is in use, or an adapter that does not fit.
        """
        if name in self._retiring:
            self._retiring.remove(name)
            return
        self.bank.add(name, adapter.directions)

    def retire(self, names: Iterable[str]) -> None:
        """Unload adapters as soon as no picture in the engine uses them any more."""
        self._retiring |= set(names)

    def submit(
        self, jobs: Sequence[ImageJob], caller: str = "", within_s: float | None = None
    ) -> RequestHandle:
        """Queue a request's pictures.

        Raises ValueError for an empty request, or an adapter, size or steps that cannot be had, and
        TooLate for pictures that would not be there within so many seconds.
        """
        if not jobs:
            raise ValueError("jobs: got none, allowed are one or more")
        loaded = set(self.bank.names) - self._retiring
        for job in jobs:
            if missing := sorted(set(job.gates) - loaded):
                raise AdapterNotLoaded(f"gates: got {missing}, loaded are {sorted(loaded)}")
            self._runner.check(job)
        handle = RequestHandle(tuple(jobs), caller)
        images = [self._scheduled(handle, index) for index in range(len(jobs))]
        seconds = self._scheduler.seconds_until_done(caller, images)
        if within_s is not None and seconds is not None and seconds > within_s:
            raise TooLate(seconds, within_s)
        self._scheduler.add(handle, images)
        return handle

    def cancel(self, handle: RequestHandle) -> None:
        """Drop a request: its rows are free at the next step."""
        self._scheduler.backlog.drop(lambda image: image.handle is handle)
        self._rows = {image: row for image, row in self._rows.items() if image.handle is not handle}

    @property
    def pending(self) -> int:
        """How many pictures wait or are on their way."""
        return len(self._scheduler.backlog.running) + self.waiting

    @property
    def waiting(self) -> int:
        """How many pictures wait for rows."""
        return self._scheduler.backlog.num_waiting

    @property
    def is_retiring(self) -> bool:
        """Whether a step would unload adapters."""
        return bool(self._retiring)

    @property
    def num_failed_batches(self) -> int:
        """How many batches have raised an error so far, each then tried in parts."""
        return sum(i.num_failed for i in (self._begun, self._denoised, self._decoded))

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Take one denoising step with the pictures whose turn it is; return previews, finished
        pictures and errors.
        """
        used = {name for image in self._scheduler.backlog.images for name in image.job.gates}
        for name in sorted(self._retiring - used):
            self.bank.remove(name)
            self._runner.forget_batches()
            self._retiring.remove(name)
        started, images = time.perf_counter(), self._scheduler.next_pass()
        new = [image for image in images if image not in self._rows]
        begun = self._begun.run(self._runner.begin, new)
        self._rows |= {b.item: b.result for b in begun if b.result is not None}
        events: list[Event] = [_error(b.item, b.error) for b in begun if b.error is not None]
        rows = [self._rows[image] for image in images if image in self._rows]
        self.last_rows = sum(1 + row.guided for row in rows)
        events += self._advance(rows)
        self._runner.end_step()
        self._scheduler.charge(images, time.perf_counter() - started)
        ended = {(e.handle, e.index) for e in events if isinstance(e, ImageError) or e.final}
        gone = [i for i in images if (i.handle, i.index) in ended]
        self._scheduler.backlog.drop(lambda image: image in gone)
        for image in gone:
            self._rows.pop(image, None)
        return events

    def run(self) -> Iterator[Event]:
        """Step until nothing is pending, yielding events as they come."""
        while self.pending:
            yield from self.step()

    def paint(self, jobs: Sequence[ImageJob]) -> list[Image.Image]:
        """Return the pictures of jobs, alone in the engine; how many the base model's safety
        checker made black is logged.

        Raises RuntimeError with the reason where one cannot be painted.
        """
        handle, images, num_flagged = self.submit(jobs), {}, 0
        for event in self.run():
            if isinstance(event, ImageError):
                self.cancel(handle)
                raise RuntimeError(f"picture {event.index}: {event.error}")
            if event.final:
                images[event.index] = event.image
                num_flagged += bool(event.flagged)
        if num_flagged:
            log.warning("%d of %d pictures are black: the base model's safety checker flagged them",
                        num_flagged, len(jobs))  # fmt: skip
        return [images[index] for index in range(len(jobs))]

    def close(self) -> None:
        """Take the hooks of the engine off the denoiser; its numbers were never touched."""
        self._runner.close()
        self.bank.close()
        put_back(self._laid_out)

    def _scheduled(self, handle: RequestHandle, index: int) -> ScheduledImage:
        job = handle.jobs[index]
        row_cost, shape = self._runner.row_cost(job), self._runner.latent_shape(job)
        num_steps = job.num_steps - first_step(job, self.backbone)
        guided = range(0)
        if self._runner.is_guided(job):
            guided = guided_steps(num_steps, job.guidance_interval)
        forecast = frozenset[int]()
        if job.taylorseer is not None:
            forecast = job.taylorseer.forecast_steps(num_steps, guided)
        return ScheduledImage(handle, index, row_cost, shape, num_steps, guided, forecast)

    def _advance(self, rows: list[Row]) -> list[Event]:
        """Take one step with rows of one shape; return what can be shown, and errors."""
        started = time.perf_counter()
        moved = self._denoised.run(self._runner.advance, rows)
        if rows:
            if self._scheduler.num_callers > 1 and self._device.type != "cpu":
                torch.accelerator.synchronize()  # whose clock runs, and how long
            self._scheduler.measured([row.image for row in rows], time.perf_counter() - started)
        events: list[Event] = [_error(m.item.image, m.error) for m in moved if m.error is not None]
        alive = [m.item for m in moved if m.error is None]
        shown = [row for row in alive if row.is_finished or row.preview_step]
        return events + [
            _shown(outcome) for outcome in self._decoded.run(self._decoder.decode, shown)
        ]


def _error(image: ScheduledImage, text: str | None) -> ImageError:
    return ImageError(image.handle, image.index, text or "")


def _shown(outcome: Outcome[Row, DecodedImage]) -> Event:
    row = outcome.item
    image = row.image
    if outcome.result is None:
        return _error(image, outcome.error)
    return ImageResult(
        image.handle,
        image.index,
        outcome.result.image,
        row.step_index if row.is_finished else row.preview_step,
        final=row.is_finished,
        flagged=outcome.result.flagged,
    )
