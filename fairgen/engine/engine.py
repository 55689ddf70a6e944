"""The engine: rows join and leave between denoising steps; one forward serves all of a shape.

A row is one picture on its way: its own latents, prompt, gates, guidance, seed, solver and index in
it. The engine knows rows, not requests: whoever asked for a picture, with whatever prompt, adapters
or number of steps, it shares every forward pass with the others.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from fairgen.adapters import Adapter
from fairgen.backbones import Backbone
from fairgen.bank import ActiveDirections, AdapterBank
from fairgen.engine.key_values import KeyValueCache, KeyValues
from fairgen.engine.requests import Event, ImageError, ImageJob, ImageResult, RequestHandle
from fairgen.solvers import Solver, advance

log = logging.getLogger(__name__)
_MAX_PROMPTS = 1024
_MAX_SOLVERS = 256


@dataclass
class Row:
    """One picture on its way. `x` and `pred_x0` are C x h x w, in fp32.

    `guided` says that it brings an unconditional row; `generator` is where its noise comes from.
    """

    ticket: RequestHandle
    index: int
    picture: ImageJob
    guided: bool
    solver: Solver
    generator: torch.Generator
    x: Tensor
    pred_x0: Tensor
    context: TensorDict
    negative: TensorDict
    key_values: KeyValues
    negative_key_values: KeyValues
    step_index: int = 0


@dataclass(frozen=True)
class _Batch:
    """What a set of rows brings to every step, kept as long as the rows stay together."""

    rows: tuple[Row, ...]
    guided: list[int]
    guidance_N: Tensor
    contexts: TensorDict
    key_values: KeyValues
    mix: ActiveDirections


class Engine:
    """Paints pictures in a shared batch of at most `max_rows` denoiser rows of the native size.

    A guided picture takes two rows, one of them unconditional, which stays bare; a larger one takes
    as many more as its latents are larger, since memory follows them. One that is over the bound by
    itself is painted alone. One thread calls `step`; `submit`, `cancel` and `pending` may be called
    from any.
    """

    def __init__(
        self, backbone: Backbone, max_rows: int = 32, cache_key_values: bool = True
    ) -> None:
        """`cache_key_values` off computes cross-attention's keys and values anew at every step."""
        if max_rows < 2:
            raise ValueError(f"max_rows: got {max_rows}, allowed are 2 or more")
        self.backbone, self.max_rows = backbone, max_rows
        self.bank = AdapterBank(backbone.denoiser, backbone.projections("qkvo"), backbone.device)
        here = next(backbone.denoiser.parameters()).device == backbone.device  # not offloaded
        prompt_only = set(backbone.prompt_projections() if cache_key_values and here else ())
        self._cache = KeyValueCache(backbone.denoiser, self.bank, sorted(prompt_only))
        self._every_step = [path for path in self.bank.projections if path not in prompt_only]
        self._waiting: deque[tuple[RequestHandle, deque[int]]] = deque()
        self._rows: list[Row] = []
        self._retiring: set[str] = set()
        self._cancelled: set[RequestHandle] = set()
        self._contexts: dict[str, TensorDict] = {}
        self._solvers: dict[tuple[int, tuple[int, int, int]], Solver] = {}
        self._batches: dict[tuple[int, ...], _Batch] = {}
        self._lock = threading.Lock()
        self.last_rows = 0  # denoiser rows of the last step

    def load(self, name: str, adapter: Adapter) -> None:
        """Load an adapter under a name; call it between steps.

        Raises ValueError for a name that is loaded or an adapter that does not fit.
        """
        self.bank.add(name, adapter.directions)

    def check_adapter(self, name: str, adapter: Adapter) -> None:
        """Raise ValueError for an adapter that does not fit; may be called from any thread."""
        self.bank.check(name, adapter.directions)

    def retire(self, names: Sequence[str]) -> None:
        """Unload adapters as soon as no picture in the engine uses them any more."""
        with self._lock:
            self._retiring |= set(names)

    def retain(self, names: Sequence[str]) -> None:
        """Keep adapters that were to be retired."""
        with self._lock:
            self._retiring -= set(names)

    def submit(self, pictures: Sequence[ImageJob]) -> RequestHandle:
        """Queue a request's pictures. Raises ValueError for an adapter, size or steps not had."""
        for picture in pictures:
            self.check(picture)
        ticket = RequestHandle(tuple(pictures))
        with self._lock:
            self._waiting.append((ticket, deque(range(len(pictures)))))
        return ticket

    def check(self, picture: ImageJob) -> None:
        """Raise ValueError, with what is allowed, for a picture that cannot be painted."""
        if missing := sorted(set(picture.gates) - set(self.bank.names)):
            raise ValueError(f"gates: got {missing}, loaded are {list(self.bank.names)}")
        if picture.num_steps < 1:
            raise ValueError(f"num_steps: got {picture.num_steps}, allowed are 1 or more")
        if picture.negative_prompt and not self.backbone.classifier_free:
            raise ValueError(
                f"negative_prompt: got {picture.negative_prompt!r}, allowed is none: this model's "
                "guidance takes no second prompt"
            )
        self._latent_shape(picture)

    def cancel(self, ticket: RequestHandle) -> None:
        """Drop a request: its rows are free at the next step."""
        with self._lock:
            self._cancelled.add(ticket)

    @property
    def pending(self) -> int:
        """How many pictures wait or are on their way."""
        with self._lock:
            return len(self._rows) + sum(len(left) for _, left in self._waiting)

    @property
    def waiting(self) -> int:
        """How many pictures wait for rows."""
        with self._lock:
            return sum(len(left) for _, left in self._waiting)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Take one denoising step with every row; return previews, finished pictures and errors."""
        events: list[Event] = list(self._change_rows())
        self.last_rows = sum(1 + row.guided for row in self._rows)
        shapes: dict[torch.Size, list[Row]] = {}
        for row in self._rows:
            shapes.setdefault(row.x.shape, []).append(row)
        for rows in shapes.values():
            events += self._advance(rows)
        gone = {(event.ticket, event.index) for event in events if not _is_preview(event)}
        with self._lock:
            self._rows = [row for row in self._rows if (row.ticket, row.index) not in gone]
        return events

    def run(self) -> Iterator[Event]:
        """Step until nothing is pending, yielding events as they come."""
        while self.pending:
            yield from self.step()

    def _change_rows(self) -> list[Event]:
        """Free cancelled rows, unload what retires, and admit pictures in turn, one a request."""
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            self._waiting = deque(entry for entry in self._waiting if entry[0] not in cancelled)
            self._rows = [row for row in self._rows if row.ticket not in cancelled]
            used = {name for row in self._rows for name in row.picture.gates}
            for ticket, left in self._waiting:
                used |= {name for index in left for name in ticket.pictures[index].gates}
            for name in sorted(self._retiring - used):
                self.bank.remove(name)
                self._batches.clear()
            self._retiring &= used
            taken = sum(self._rows_of(row.picture) for row in self._rows)
            admitted: list[tuple[RequestHandle, int]] = []
            while self._waiting:
                ticket, left = self._waiting[0]
                needed = self._rows_of(ticket.pictures[left[0]])
                if taken and taken + needed > self.max_rows:
                    break
                taken += needed
                admitted.append((ticket, left.popleft()))
                self._waiting.rotate(-1)
                if not left:
                    self._waiting.pop()
        return self._admit(admitted) if admitted else []

    def _rows_of(self, picture: ImageJob) -> int:
        """Return how many native rows of the bound a picture takes."""
        _, height, width = self._latent_shape(picture)
        _, native_height, native_width = self.backbone.latent_shape()
        larger = -(-height * width // (native_height * native_width))
        return (1 + self._is_guided(picture)) * larger

    def _is_guided(self, picture: ImageJob) -> bool:
        """Return whether a picture takes an unconditional row."""
        return self.backbone.classifier_free and picture.guidance_scale > 1

    def _admit(self, admitted: list[tuple[RequestHandle, int]]) -> list[Event]:
        """Begin pictures together; where that fails, each on its own, and one may fail alone."""
        try:
            rows = self._begin(admitted)
        except Exception as error:
            if len(admitted) == 1:
                log.exception("a picture could not be begun")
                return [ImageError(*admitted[0], error)]
            return [event for index in admitted for event in self._admit([index])]
        with self._lock:
            self._rows += rows
        return []

    def _begin(self, admitted: list[tuple[RequestHandle, int]]) -> list[Row]:
        pictures = [ticket.pictures[index] for ticket, index in admitted]
        contexts = [self._context(picture.prompt) for picture in pictures]
        negatives = [self._context(picture.negative_prompt) for picture in pictures]
        gates = self._gates(pictures)
        known = self._cache.compute(
            torch.stack([*contexts, *negatives]), torch.cat([gates, torch.zeros_like(gates)])
        )
        rows = []
        for index, (ticket, index) in enumerate(admitted):
            picture = pictures[index]
            solver = self._solver(picture)
            generator = torch.Generator().manual_seed(picture.seed)
            noise = torch.randn(self._latent_shape(picture), generator=generator)
            x = solver.start * noise.to(self.backbone.device)
            rows.append(
                Row(
                    ticket=ticket,
                    index=index,
                    picture=picture,
                    guided=self._is_guided(picture),
                    solver=solver,
                    generator=generator,
                    x=x,
                    pred_x0=torch.zeros_like(x),
                    context=contexts[index],
                    negative=negatives[index],
                    key_values=known[index],
                    negative_key_values=known[len(admitted) + index],
                )
            )
        return rows

    def _solver(self, picture: ImageJob) -> Solver:
        """Return the solver of a picture's steps and size, kept for the next one."""
        key = picture.num_steps, self._latent_shape(picture)
        if key not in self._solvers:
            if len(self._solvers) >= _MAX_SOLVERS:
                del self._solvers[next(iter(self._solvers))]
            self._solvers[key] = self.backbone.solver(*key)
        return self._solvers[key]

    def _latent_shape(self, picture: ImageJob) -> tuple[int, int, int]:
        return self.backbone.latent_shape(picture.width_px, picture.height_px)

    def _advance(self, rows: list[Row]) -> list[Event]:
        """Take one step with rows of one shape; where it fails, each on its own."""
        try:
            prediction = self._predict(self._batch_of(rows))
        except Exception as error:
            self._batches.clear()
            if len(rows) == 1:
                log.exception("a picture could not be denoised")
                return [ImageError(rows[0].ticket, rows[0].index, error)]
            return [event for row in rows for event in self._advance([row])]
        table = torch.stack([row.solver.table[row.step_index] for row in rows])
        x, pred_x0 = torch.stack([row.x for row in rows]), torch.stack([r.pred_x0 for r in rows])
        x, pred_x0 = advance(table, prediction, x, pred_x0, _fresh_noise(rows))
        for row, state, clean in zip(rows, x, pred_x0, strict=True):
            row.x, row.pred_x0, row.step_index = state, clean, row.step_index + 1
        done = [row for row in rows if row.step_index == row.solver.num_steps]
        shown = [row for row in rows if row not in done and _wants_preview(row)]
        return self._develop(done, final=True) + self._develop(shown, final=False)

    def _predict(self, batch: _Batch) -> Tensor:
        """Return every row's guided prediction, N x C x h x w: one forward for all."""
        rows, guided = batch.rows, batch.guided
        x = torch.stack([row.x for row in rows])
        t = torch.stack([row.solver.timesteps[row.step_index] for row in rows]).to(x.device)
        with self.bank.gated(batch.mix), self._cache.answering(batch.key_values):
            prediction = self.backbone.denoise(
                torch.cat([x, x[guided]]),
                torch.cat([t, t[guided]]),
                batch.contexts,
                torch.cat([batch.guidance_N, batch.guidance_N[guided]]),
            )
        named, bare = prediction[: len(rows)], prediction[len(rows) :]
        if guided:
            named = named.clone()
            scales = batch.guidance_N[guided].view(-1, *(1,) * (x.ndim - 1))
            named[guided] = bare + scales * (named[guided] - bare)
        return named

    def _batch_of(self, rows: list[Row]) -> _Batch:
        key = tuple(id(row) for row in rows)
        if key not in self._batches:
            guided = [index for index, row in enumerate(rows) if row.guided]
            scales = torch.tensor([row.picture.guidance_scale for row in rows])
            gates = self._gates([row.picture for row in rows])
            self._batches = {
                k: b for k, b in self._batches.items() if b.rows[0].x.shape != rows[0].x.shape
            }
            self._batches[key] = _Batch(
                rows=tuple(rows),
                guided=guided,
                guidance_N=scales.to(rows[0].x),
                contexts=torch.stack(
                    [row.context for row in rows] + [rows[index].negative for index in guided]
                ),
                key_values=self._cache.stack(
                    [row.key_values for row in rows]
                    + [rows[index].negative_key_values for index in guided]
                ),
                mix=self.bank.active_directions(
                    torch.cat([gates, gates.new_zeros(len(guided), gates.shape[1])]),
                    self._every_step,
                ),
            )
        return self._batches[key]

    def _develop(self, rows: list[Row], final: bool) -> list[Event]:
        """Decode the rows' clean pictures together; where that fails, each on its own."""
        if not rows:
            return []
        events: list[Event] = []
        sound = [row for row in rows if row.pred_x0.isfinite().all()]
        for row in rows:
            if row not in sound:
                error = ValueError(f"prompt: got {row.picture.prompt!r}, which ends in no number")
                events.append(ImageError(row.ticket, row.index, error))
        if not sound:
            return events
        latents = torch.stack([row.x if final else row.pred_x0 for row in sound])
        try:
            images = self.backbone.decode(latents)
        except Exception as error:
            log.exception("pictures could not be decoded")
            if len(sound) == 1:
                return [*events, ImageError(sound[0].ticket, sound[0].index, error)]
            return events + [event for row in sound for event in self._develop([row], final)]
        return events + [
            ImageResult(row.ticket, row.index, image, row.step_index, final)
            for row, image in zip(sound, images, strict=True)
        ]

    def _gates(self, pictures: Sequence[ImageJob]) -> Tensor:
        """Return N x K gates in the order of the bank's adapters."""
        names = self.bank.names
        return torch.tensor([[p.gates.get(name, 0.0) for name in names] for p in pictures]).view(
            len(pictures), len(names)
        )

    def _context(self, prompt: str) -> TensorDict:
        """Return a prompt's embedding, encoded on its own and kept for the next request."""
        if prompt not in self._contexts:
            if len(self._contexts) >= _MAX_PROMPTS:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[prompt] = self.backbone.encode([prompt])[0]
        return self._contexts[prompt]


def _fresh_noise(rows: Sequence[Row]) -> Tensor | None:
    """Return noise for the rows whose solver adds some at their step, zeros for the others."""
    if not any(row.solver.draws_noise(row.step_index) for row in rows):
        return None
    fresh = [
        torch.randn(row.x.shape, generator=row.generator).to(row.x)
        if row.solver.draws_noise(row.step_index)
        else torch.zeros_like(row.x)
        for row in rows
    ]
    return torch.stack(fresh)


def _wants_preview(row: Row) -> bool:
    return row.step_index in row.picture.preview_at


def _is_preview(event: Event) -> bool:
    return isinstance(event, ImageResult) and not event.final
