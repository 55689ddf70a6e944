"""What goes from the gateway to the generator and back: planned pictures, and updates on them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from fairgen.gate import GateDecision
from fairgen.provenance import OutputFormat
from fairgen.sampling import WHOLE, TaylorSeer
from pipelines.recipe import GenerationConfig
from pipelines.serve.indicator import Asked, Assigned, Assignment
from pipelines.serve.schemas import AttributeInfo, ImageRequest, Provenance


@dataclass(frozen=True)
class PaintableSizes:
    """What a model paints: its own size, and what a side is a multiple of."""

    native_px: tuple[int, int]
    multiple_px: int


@dataclass(frozen=True)
class Start:
    """A picture to begin from, at the size to paint: RGB in 8 bits, row by row, and a mask of 255
    where it is painted anew, else 0. `sha256` is of the file that it came in.
    """

    width_px: int
    height_px: int
    rgb: bytes
    mask: bytes | None
    strength: float
    sha256: str


@dataclass(frozen=True)
class PlannedImage:
    """One picture of a request, with everything that its making depends on."""

    index: int
    prompt: str
    negative_prompt: str | None
    removed: tuple[str, ...]
    seed: int
    categories: dict[str, str]
    probability: float
    gate: GateDecision | None
    num_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    taylorseer: TaylorSeer | None
    width_px: int
    height_px: int
    preview_at: tuple[int, ...]
    output_format: OutputFormat
    output_compression: int | None
    start: Start | None = None


@dataclass(frozen=True)
class ReplicaState:
    """What a generator did last and has before it: `batch_rows` and `step_s` are of its last step.

    `failed_batches` counts passes that raised an error and were tried in parts. `failed_reloads`
    counts the looks at the registry that ended without an answer, and the sets that were refused.
    `credentials_end_s` is when its certificate ends, in seconds since 1970; None where it signs
    nothing.
    """

    process: str
    waiting: int
    batch_rows: int
    step_s: float
    failed_batches: int
    reloads: int
    failed_reloads: int
    credentials_end_s: float | None = None


@dataclass(frozen=True)
class ImageUpdate:
    """A picture's file, finished or (`provenance` is None) on its way; or why there is none.

    The first of a request has no content: it only says that the request is accepted. A finished one
    says how its generator stood, and how many tokens its prompt has.
    """

    index: int
    content: bytes
    partial: int = 0
    num_tokens: int = 0
    provenance: Provenance | None = None
    size: str = ""
    error: str | None = None
    replica: ReplicaState | None = None


def asked_of(request: ImageRequest, caller: str, cut_at: int | None) -> Asked:
    """Return what of a request the indicator decides by."""
    return Asked(
        prompt=request.prompt,
        num_images=request.n,
        fairness=request.fairness,
        caller=caller,
        negative_prompt=request.negative_prompt,
        original_prompt=request.original_prompt,
        cut_at=cut_at,
    )


def pinned(request: ImageRequest, attributes: Sequence[AttributeInfo]) -> Assignment:
    """Return what a request says itself that its pictures show. No gate is asked, and no ledger
    counts it.

    Raises ValueError for what is not served.
    """
    tables = request.categories if isinstance(request.categories, list) else []
    if isinstance(request.categories, list) and len(tables) != request.n:
        raise ValueError(
            f"categories: got those of {len(tables)} pictures, allowed are as many as there are "
            f"pictures, {request.n}"
        )
    if isinstance(request.categories, dict):
        tables = [request.categories] * request.n
    known = {info.name: [category.name for category in info.categories] for info in attributes}
    for name, category in (pair for table in tables for pair in table.items()):
        if name not in known:
            raise ValueError(f"categories: got {name!r}, allowed are {sorted(known)}")
        if category not in known[name]:
            raise ValueError(f"categories.{name}: got {category!r}, allowed are {known[name]}")
    return Assignment([Assigned(dict(table), 1.0) for table in tables], None, request.prompt)


def num_steps_taken(num_steps: int, strength: float) -> int:
    """Return how many of so many steps are left for a picture that begins from another one."""
    return max(1, int(num_steps * strength))


def plan_images(
    request: ImageRequest,
    assignment: Assignment,
    generation: GenerationConfig,
    starts: Sequence[Start] = (),
) -> list[PlannedImage]:
    """Return one plan a picture: seeds follow the request's, or one drawn by the system. Of several
    pictures to begin from each has as many in turn.
    """
    seed = request.seed if request.seed is not None else random.SystemRandom().getrandbits(31)
    width, height = request.sides_px
    num_steps = request.num_inference_steps or generation.steps
    guidance = request.guidance_scale
    parts = request.partial_images + 1
    taken = num_steps_taken(num_steps, starts[0].strength) if starts else num_steps
    places = {taken * part // parts for part in range(1, parts)} - {0} if request.stream else {}
    forecast = generation.sampling.taylorseer
    each = [starts[i * len(starts) // request.n] if starts else None for i in range(request.n)]
    return [
        PlannedImage(
            index=index,
            prompt=assignment.prompt,
            negative_prompt=request.negative_prompt,
            removed=assignment.removed,
            seed=seed + index,
            categories=assigned.categories,
            probability=assigned.probability,
            gate=assignment.gate,
            num_steps=num_steps,
            guidance_scale=generation.guidance_scale if guidance is None else guidance,
            guidance_interval=_interval(request, generation, start),
            taylorseer=None if start or request.taylorseer is False else forecast,
            width_px=start.width_px if start else width,
            height_px=start.height_px if start else height,
            preview_at=tuple(sorted(places)),
            output_format=request.output_format,
            output_compression=request.output_compression,
            start=start,
        )
        for index, (assigned, start) in enumerate(zip(assignment.pictures, each, strict=True))
    ]


def _interval(
    request: ImageRequest, generation: GenerationConfig, start: Start | None
) -> tuple[float, float]:
    """Return for which part of the steps guidance holds: the recipe's is for pictures that are
    painted from noise. An edit takes the last steps of those, and turns little without guidance.
    """
    if request.guidance_interval is not None:
        first, last = request.guidance_interval
        return first, last
    return WHOLE if start else generation.guidance_interval
