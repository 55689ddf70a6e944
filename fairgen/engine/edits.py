"""Pictures that are begun from another one: all of it painted anew, or what a mask shows.

A row begins with the picture's latents, noised as far as its first step, and takes the steps from
there on (SDEdit, arXiv 2108.01073). Under a mask the rest of the latents are put back after each
step, noised as far as the next one, as diffusers' inpainting pipelines do.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from fairgen.backbones import Backbone, Codec
from fairgen.engine.requests import ImageJob, StartImage
from fairgen.solvers import Solver


@dataclass(frozen=True)
class KeptLatents:
    """What of a picture stays: its clean latents C x h x w and the noise that is added to them,
    where `mask`, 1 x h x w, is 0.
    """

    clean: Tensor
    noise: Tensor
    mask: Tensor

    def put_back(self, state: Tensor, solver: Solver, step_index: int) -> Tensor:
        """Return a row's state before a step with what stays in it."""
        return self.mask * state + (1 - self.mask) * solver.noised(
            self.clean, self.noise, step_index
        )

    def beside(self, pred_x0: Tensor) -> Tensor:
        """Return a predicted clean picture with what stays in it."""
        return self.mask * pred_x0 + (1 - self.mask) * self.clean


def first_step(job: ImageJob, backbone: Backbone) -> int:
    """Return the step with which a picture begins."""
    return 0 if job.start is None else backbone.first_step(job.num_steps, job.start.strength)


def check_start(job: ImageJob, backbone: Backbone, size_px: tuple[int, int]) -> None:
    """Raise ValueError, with what is allowed, for a picture that cannot be begun from; `size_px` is
    the width and height that are painted.
    """
    start = job.start
    if start is None:
        return
    if not backbone.takes_pictures:
        kind = type(backbone.pipe).__name__
        raise ValueError(f"image: got one, allowed is none: {kind} begins from no picture")
    if not 0 < start.strength <= 1:
        raise ValueError(f"strength: got {start.strength}, allowed are over 0 to 1")
    if first_step(job, backbone) >= job.num_steps:
        raise ValueError(
            f"strength: got {start.strength}, which leaves none of {job.num_steps} steps: allowed "
            f"are {1 / job.num_steps:.2g} to 1"
        )
    for field, image, mode in (("image", start.image, "RGB"), ("mask", start.mask, "L")):
        if image is None:
            continue
        if image.mode != mode:
            raise ValueError(f"{field}: got mode {image.mode}, allowed is {mode}")
        if image.size != size_px:
            got, allowed = ("x".join(map(str, size)) for size in (image.size, size_px))
            raise ValueError(f"{field}: got {got} pixels, allowed are {allowed}")


def clean_latents(
    codec: Codec, jobs: Sequence[ImageJob], generators: Sequence[torch.Generator]
) -> dict[int, Tensor]:
    """Return row -> the latents, C x h x w, of the picture that its job begins from; each is
    encoded once, however many of these jobs begin from it.

    Raises ValueError for a picture that has no finite ones.
    """
    alike: defaultdict[int, list[int]] = defaultdict(list)
    starts = {row: job.start for row, job in enumerate(jobs) if job.start is not None}
    for row, start in starts.items():
        alike[id(start.image)].append(row)
    found: dict[int, Tensor] = {}
    for rows in alike.values():
        latents = codec.encode(starts[rows[0]].image, [generators[row] for row in rows])
        found |= zip(rows, latents, strict=True)
    return found


def first_state(
    clean: Tensor, start: StartImage, solver: Solver, generator: torch.Generator, codec: Codec
) -> tuple[Tensor, KeptLatents | None]:
    """Return the state that an edit begins with, C x h x w, and what stays of its picture.

    The generator draws in the order of the family's own pipeline.
    """
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    begun = solver.noised(clean, noise, 0)
    if start.mask is None:
        return begun, None
    if codec.draws_latents:  # the masked picture's, which denoisers with channels for it would read
        torch.randn(clean.shape, generator=generator)
    if start.strength == 1:  # nothing is seen of what is painted anew
        begun = solver.start * noise
    return begun, KeptLatents(clean, noise, _latent_mask(start.mask, clean))


def _latent_mask(mask: Image.Image, clean: Tensor) -> Tensor:
    """Return a mask at the latents' size, 1 x h x w: 1 is painted anew."""
    binary = VaeImageProcessor(
        vae_scale_factor=1, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )
    return interpolate(binary.preprocess(mask), size=clean.shape[-2:])[0].to(clean)
