"""The tensors of pictures on their way: one pass and one solver step for all of a shape."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones import Backbone, PromptCache
from fairgen.bank import ActiveDirections, AdapterBank, Positions
from fairgen.engine.backlog import ScheduledImage
from fairgen.engine.edits import KeptLatents, check_start, clean_latents, first_state, first_step
from fairgen.engine.forecast import TaylorSeries, check_forecasts
from fairgen.engine.key_values import KeyValueCache, KeyValues, read_once
from fairgen.engine.requests import ImageJob
from fairgen.guidance import Guide, GuidedRows
from fairgen.sampling import WHOLE, guided_steps
from fairgen.solvers import Solver, advance

_MAX_SOLVERS = 256
_MAX_BATCHES = 3


@dataclass(eq=False)
class Row:
    """One picture on its way. `x`, `pred_x0` and `older_x0` are C x h x w, in fp32.

    Its noise comes from `generator`. `kept` is what stays of a picture that is edited under a mask.
    """

    image: ScheduledImage
    solver: Solver
    generator: torch.Generator
    x: Tensor
    pred_x0: Tensor
    older_x0: Tensor  # what was predicted at the step before the last one
    kept: KeptLatents | None
    weight: float  # of guidance, as `fairgen.guidance` has it
    context: TensorDict
    negative: TensorDict
    key_values: KeyValues
    negative_key_values: KeyValues
    series: TaylorSeries | None  # of its conditional and of its unconditional predictions,
    negative_series: TaylorSeries | None  # where some are forecast
    step_index: int = 0
    preview_step: int = 0  # the last of those to be shown that the last pass has reached, or 0

    @property
    def guided(self) -> bool:
        """Whether it brings an unconditional row to its next step."""
        return self.step_index in self.image.guided

    @property
    def is_finished(self) -> bool:
        return self.step_index == self.solver.num_steps

    @property
    def clean(self) -> Tensor:
        """The clean picture, or what is predicted of it so far: C x h x w."""
        if self.is_finished:
            return self.x
        return self.pred_x0 if self.kept is None else self.kept.beside(self.pred_x0)

    def forecast(self, guide: Guide) -> Tensor | None:
        """Return the guided prediction of its next step, where that is forecast."""
        if self.series is None or self.step_index not in self.image.forecast:
            return None
        conditional = self.series.at(self.step_index)
        if not self.guided or self.negative_series is None:
            return conditional
        unconditional = self.negative_series.at(self.step_index)
        return guide(unconditional, conditional, torch.tensor(self.weight))

    def move(self, state: Tensor, clean: Tensor) -> None:
        """Go to the next step, with what the solver has made of this one."""
        self.step_index += 1
        self.x, self.pred_x0, self.older_x0 = state, clean, self.pred_x0
        if self.kept is not None:
            self.x = self.kept.put_back(state, self.solver, self.step_index)
        if self.step_index in self.image.job.preview_at:
            self.preview_step = self.step_index


@dataclass(frozen=True)
class _Part:
    """What the denoiser rows `at` some indices bring to every step: they share a forward."""

    at: list[int]
    contexts: TensorDict
    key_values: KeyValues
    directions: ActiveDirections
    positions: Positions | None


@dataclass(frozen=True)
class StepBatch:
    """What a set of rows brings to every step, kept as long as the rows stay together."""

    rows: tuple[Row, ...]
    guidance: GuidedRows
    scale_N: Tensor
    parts: tuple[_Part, ...]


class Runner:
    """Begins rows and moves them along. The engine's thread calls it."""

    def __init__(self, backbone: Backbone, bank: AdapterBank, cache_key_values: bool) -> None:
        """`cache_key_values` off computes the text's keys and values anew at every step, where they
        are always the same.
        """
        self.backbone, self.bank = backbone, bank
        self._device = backbone.device
        here = next(backbone.denoiser.parameters()).device == self._device  # not offloaded
        prompt_only = set(backbone.prompt_projections() if cache_key_values and here else ())
        self._cache = KeyValueCache(backbone.denoiser, bank, sorted(prompt_only))
        self._reads_once = cache_key_values and here and backbone.reads_once
        read = bank.projections if self._reads_once else prompt_only
        self._every_step = [path for path in bank.projections if path not in read]
        self._prompts = PromptCache(backbone)
        self._solvers: dict[tuple[int, int, tuple[int, int, int]], Solver] = {}
        self._batches: dict[tuple[Row, ...], StepBatch] = {}  # the last ones used, oldest first

    def latent_shape(self, job: ImageJob) -> tuple[int, int, int]:
        """Return C, h, w. Raises ValueError for a size that the model cannot paint."""
        return self.backbone.latent_shape(job.width_px, job.height_px)

    def is_guided(self, job: ImageJob) -> bool:
        """Return whether a picture takes an unconditional row where guidance is on."""
        return self.backbone.is_guided(job.guidance_scale)

    def row_cost(self, job: ImageJob) -> int:
        """Return how many rows of the native size a row of a picture counts for: memory follows
        them.
        """
        _, height, width = self.latent_shape(job)
        _, native_height, native_width = self.backbone.latent_shape()
        return -(-height * width // (native_height * native_width))

    def check(self, job: ImageJob) -> None:
        """Raise ValueError, with what is allowed, for a picture that cannot be painted."""
        if job.num_steps < 1:
            raise ValueError(f"num_steps: got {job.num_steps}, allowed are 1 or more")
        reads_two = self.backbone.classifier_free and not self.backbone.guides_apart
        if job.negative_prompt and not reads_two:
            raise ValueError(
                f"negative_prompt: got {job.negative_prompt!r}, allowed is none: this model's "
                "guidance takes no second prompt"
            )
        if job.guidance_interval != WHOLE and not self.backbone.classifier_free:
            start, stop = job.guidance_interval
            raise ValueError(
                f"guidance_interval: got {start} to {stop}, allowed is all: this model's guidance "
                "takes no second row"
            )
        guided_steps(job.num_steps, job.guidance_interval)
        _, height, width = self.latent_shape(job)
        factor = self.backbone.vae_scale_factor
        check_start(job, self.backbone, (width * factor, height * factor))
        solver = self._solver(job)
        if job.taylorseer is not None:
            check_forecasts(solver, type(self.backbone.pipe.scheduler).__name__)

    def forget_batches(self) -> None:
        """Drop what rows bring to every step: the bank's columns have changed."""
        self._batches = {}

    def end_step(self) -> None:
        """Keep what the last few sets of rows bring to every step: callers take turns."""
        alive = [rows for rows in self._batches if not any(row.is_finished for row in rows)]
        self._batches = {rows: self._batches[rows] for rows in alive[-_MAX_BATCHES:]}

    def begin(self, images: Sequence[ScheduledImage]) -> list[Row]:
        """Return a row for each picture, its keys and values computed together."""
        jobs = [image.job for image in images]
        contexts = [self._prompts.embed(job.prompt) for job in jobs]
        negatives = [self._prompts.embed(job.negative_prompt, negative=True) for job in jobs]
        gates_NK = self._gates(jobs)
        known = self._cache.compute(self.backbone.stack(contexts), gates_NK)
        bare = [
            self._cache.bare(job.negative_prompt, negative)
            for job, negative in zip(jobs, negatives, strict=True)
        ]
        if self._reads_once:
            layout = GuidedRows(len(images), tuple(at for at, i in enumerate(images) if i.guided))
            both = layout.rows(contexts, negatives)
            read = read_once(self.backbone, self.bank, both, layout.gates(gates_NK))
            contexts = read[: len(images)]
            for at, negative in zip(layout.indices, read[len(images) :], strict=True):
                negatives[at] = negative
        generators = [torch.Generator().manual_seed(job.seed) for job in jobs]
        clean = clean_latents(self.backbone.codec, jobs, generators)
        rows = []
        for at, (image, job, generator) in enumerate(zip(images, jobs, generators, strict=True)):
            solver, kept = self._solver(job), None
            if job.start is None:
                noise = self.backbone.noise(self.latent_shape(job), generator)
                x = solver.start * noise.to(self._device)
            else:
                codec = self.backbone.codec
                x, kept = first_state(clean[at], job.start, solver, generator, codec)
            rows.append(
                Row(
                    image=image,
                    solver=solver,
                    generator=generator,
                    x=x,
                    pred_x0=torch.zeros_like(x),
                    older_x0=torch.zeros_like(x),
                    kept=kept,
                    weight=self.backbone.guidance_weight(job.guidance_scale),
                    context=contexts[at],
                    negative=negatives[at],
                    key_values=known[at],
                    negative_key_values=bare[at],
                    series=_series(image),
                    negative_series=_series(image),
                )
            )
        return rows

    def advance(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Take one step with rows of one shape, in place, and those after it that are forecast."""
        for row in rows:
            row.preview_step = 0
        batch = self._batch_of(rows)
        prediction = self._predict(batch)
        _keep(batch, prediction)
        guide = self.backbone.guided
        _move(rows, batch.guidance.combine(prediction, batch.scale_N, guide))
        found = [(row, row.forecast(guide)) for row in rows]
        while ahead := [(row, forecast) for row, forecast in found if forecast is not None]:
            _move([row for row, _ in ahead], torch.stack([forecast for _, forecast in ahead]))
            found = [(row, row.forecast(guide)) for row, _ in ahead]
        return rows

    def close(self) -> None:
        """Take the cache's hooks off the denoiser."""
        self._cache.close()

    def _predict(self, batch: StepBatch) -> Tensor:
        """Return the predictions of all denoiser rows, N + G x C x h x w, of one forward a part."""
        x = torch.stack([row.x for row in batch.rows])
        t_N = torch.stack([row.solver.timesteps[row.step_index] for row in batch.rows])
        given = [batch.guidance.repeat(each) for each in (x, t_N.to(x.device), batch.scale_N)]
        found = torch.empty_like(given[0])
        for part in batch.parts:
            x, t_N, scale_N = (each[part.at] for each in given)
            gated = self.bank.gated(part.directions, part.positions)
            with gated, self._cache.answering(part.key_values):
                found[part.at] = self.backbone.denoise(x, t_N, part.contexts, scale_N)
        return found

    def _batch_of(self, rows: Sequence[Row]) -> StepBatch:
        together = tuple(rows)
        guided = tuple(index for index, row in enumerate(together) if row.guided)
        batch = self._batches.pop(together, None)
        if batch is None or batch.guidance.indices != guided:  # guidance ends on the way
            batch = self._new_batch(together, guided)
        self._batches[together] = batch
        return batch

    def _new_batch(self, rows: tuple[Row, ...], guided: tuple[int, ...]) -> StepBatch:
        layout = GuidedRows(len(rows), guided)
        scales = torch.tensor([row.weight for row in rows])
        gates_MK = layout.gates(self._gates([row.image.job for row in rows]))
        contexts = layout.rows([row.context for row in rows], [row.negative for row in rows])
        key_values = layout.rows(
            [row.key_values for row in rows], [row.negative_key_values for row in rows]
        )
        parts = []
        for at in self.backbone.parts(contexts):
            stacked = self.backbone.stack([contexts[index] for index in at])
            parts.append(
                _Part(
                    at=at,
                    contexts=stacked,
                    key_values=self._cache.stack([key_values[index] for index in at]),
                    directions=self.bank.active_directions(gates_MK[at], self._every_step),
                    positions=None
                    if self._reads_once
                    else self.backbone.text_positions(stacked, rows[0].x.shape),
                )
            )
        return StepBatch(rows, layout, scales.to(rows[0].x), tuple(parts))

    def _gates(self, jobs: Sequence[ImageJob]) -> Tensor:
        """Return N x K gates in the order of the bank's adapters; each name must be loaded."""
        column = {name: index for index, name in enumerate(self.bank.names)}
        gates_NK = torch.zeros(len(jobs), len(column))
        for row, job in enumerate(jobs):
            for name, gate in job.gates.items():
                gates_NK[row, column[name]] = gate
        return gates_NK

    def _solver(self, job: ImageJob) -> Solver:
        """Return the solver of a picture's steps and size, kept for the next one."""
        first, shape = first_step(job, self.backbone), self.latent_shape(job)
        key = job.num_steps, first, shape
        if key not in self._solvers:
            if len(self._solvers) >= _MAX_SOLVERS:
                del self._solvers[next(iter(self._solvers))]
            solver = self.backbone.solver(job.num_steps, shape)
            self._solvers[key] = solver.since(first) if first else solver
        return self._solvers[key]


def _series(image: ScheduledImage) -> TaylorSeries | None:
    """Return a series to forecast predictions of a picture by, where any are."""
    if image.job.taylorseer is None or not image.forecast:
        return None
    return TaylorSeries(image.job.taylorseer.max_order)


def _keep(batch: StepBatch, prediction: Tensor) -> None:
    """Note what a pass has predicted for the rows that forecast from it."""
    guided_rows = [batch.rows[index] for index in batch.guidance.indices]
    series = [row.series for row in batch.rows] + [row.negative_series for row in guided_rows]
    for row, one, computed in zip((*batch.rows, *guided_rows), series, prediction, strict=True):
        if one is not None:
            one.add(row.step_index, computed)


def _move(rows: Sequence[Row], prediction: Tensor) -> None:
    """Take a solver step with rows of one shape and their guided predictions, in place."""
    table_N7 = torch.stack([row.solver.table[row.step_index] for row in rows])
    x = torch.stack([row.x for row in rows])
    pred_x0 = torch.stack([row.pred_x0 for row in rows])
    looks_back = bool(table_N7[:, 5].any())
    older_x0 = torch.stack([row.older_x0 for row in rows]) if looks_back else None
    x, pred_x0 = advance(table_N7, prediction, x, pred_x0, _fresh_noise(rows), older_x0)
    for row, state, clean in zip(rows, x, pred_x0, strict=True):
        row.move(state, clean)


def _fresh_noise(rows: Sequence[Row]) -> Tensor | None:
    """Return noise for the rows whose solver adds some at their step, zeros for the others."""
    draws = [row.solver.draws_noise(row.step_index) for row in rows]
    if not any(draws):
        return None
    return torch.stack(
        [
            torch.randn(row.x.shape, generator=row.generator).to(row.x)
            if drawn
            else torch.zeros_like(row.x)
            for row, drawn in zip(rows, draws, strict=True)
        ]
    )
