"""What an engine is asked for and what comes out of it: pictures, tickets, events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True)
class ImageJob:
    """What to paint: `gates` maps the name of a loaded adapter to its gate; 0 px is native size.

    `preview_at` names the steps after which the picture that is foreseen is shown.
    """

    prompt: str
    seed: int
    gates: Mapping[str, float] = field(default_factory=dict)
    num_steps: int = 20
    guidance_scale: float = 7.5
    negative_prompt: str = ""
    width_px: int = 0
    height_px: int = 0
    preview_at: tuple[int, ...] = ()


@dataclass(eq=False)
class RequestHandle:
    """A request's pictures in the engine. Compared by identity."""

    pictures: Sequence[ImageJob]


@dataclass(frozen=True)
class ImageResult:
    """A finished picture, or a preview of one that stands at `step` of its steps."""

    ticket: RequestHandle
    index: int
    image: Image.Image
    step: int
    final: bool


@dataclass(frozen=True)
class ImageError:
    """A picture that could not be painted; the others of its ticket go on."""

    ticket: RequestHandle
    index: int
    error: Exception


Event = ImageResult | ImageError
