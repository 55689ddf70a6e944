"""What an engine is asked for and what comes out of it: jobs, handles, results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from fairgen.sampling import WHOLE, TaylorSeer


@dataclass(frozen=True)
class StartImage:
    """A picture to begin from, RGB and of the job's size.

    `strength`, over 0 to 1, says how far to go from it: at 1 only noise is left of it at first.
    What is white in `mask`, mode L, is painted anew, the rest stays; None paints all of it anew.
    """

    image: Image.Image
    strength: float
    mask: Image.Image | None = None


@dataclass(frozen=True)
class ImageJob:
    """What to paint: `gates` maps the name of a loaded adapter to its gate; 0 px is native size.

    `negative_prompt` None is none, which is not the empty one in every family. `preview_at` names
    the steps, of those that are taken, after which the predicted clean picture is shown. `start` is
    the picture that is edited, if one is. `guidance_interval` is the part of the steps that is
    guided, in shares of those that are taken: besides it a picture takes one row, not two. At
    the steps that `taylorseer` forecasts it takes none.
    """

    prompt: str
    seed: int
    gates: Mapping[str, float] = field(default_factory=dict)
    num_steps: int = 20
    guidance_scale: float = 7.5
    negative_prompt: str | None = None
    width_px: int = 0
    height_px: int = 0
    preview_at: tuple[int, ...] = ()
    start: StartImage | None = None
    guidance_interval: tuple[float, float] = WHOLE
    taylorseer: TaylorSeer | None = None


@dataclass(eq=False)
class RequestHandle:
    """A request in the engine, one job a picture; `caller` is who asks, whatever its name says.
    Compared by identity.
    """

    jobs: Sequence[ImageJob]
    caller: str = ""


@dataclass(frozen=True)
class ImageResult:
    """A finished picture, or a preview of one after `step` of its steps.

    `flagged` says what the base model's safety checker says: a flagged picture is black. None is
    for a model without one.
    """

    handle: RequestHandle
    index: int
    image: Image.Image
    step: int
    final: bool
    flagged: bool | None = None


@dataclass(frozen=True)
class ImageError:
    """Why a picture could not be painted, as text; the others of its request go on."""

    handle: RequestHandle
    index: int
    error: str


Event = ImageResult | ImageError


class TooLate(Exception):
    """A request would not be done in time: it takes about `seconds`."""

    def __init__(self, seconds: float, limit_s: float) -> None:
        super().__init__(f"about {seconds:.0f} s, allowed are {limit_s:g} s")
        self.seconds = seconds


class AdapterNotLoaded(ValueError):
    """A job names an adapter that the engine does not have."""
