"""The picture of a family's own pipeline, and that of an engine around the same pipeline."""

import io
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, FlowMatchLCMScheduler
from PIL import Image

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob
from tests.families import as_the_engine, size_of

PROMPT = "a photo of a doctor"
NUM_STEPS = 4


def theirs(pipe: DiffusionPipeline, seed: int = 7, **options: Any) -> np.ndarray:
    """Return the picture that the family's own pipeline paints, as numbers."""
    num_steps = options.get("num_inference_steps", NUM_STEPS)
    asked = {"prompt": PROMPT, **as_the_engine(pipe, num_steps)}
    generator: torch.Generator | None = torch.Generator().manual_seed(seed)
    if isinstance(pipe.scheduler, FlowMatchLCMScheduler):  # it is handed none, and draws from
        generator = None  # torch's own
        torch.manual_seed(seed)
    return as_numbers(pipe(**asked | options, generator=generator)[0][0])


def ours(pipe: DiffusionPipeline, seed: int = 7, **options: Any) -> np.ndarray:
    """Return the picture that an engine paints with the same pipeline, as numbers."""
    asked = {"prompt": PROMPT, "num_steps": NUM_STEPS, "guidance_scale": 4.0}
    engine = Engine(load_backbone(pipe, size_of(pipe)))
    (image,) = engine.paint([ImageJob(**asked | options, seed=seed)])
    engine.close()
    return as_numbers(image)


def as_numbers(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def assert_same(one: np.ndarray, other: np.ndarray, grey_levels: int = 1) -> None:
    """One grey level is the rounding of what agrees to 1e-3."""
    assert np.abs(one - other).max() <= grey_levels
    assert one.std() > 5, "a picture in which something can be seen"


def grey_levels(one: bytes, other: bytes) -> int:
    """Return the largest difference of two files, 0 to 255."""
    first, second = (as_numbers(Image.open(io.BytesIO(content))) for content in (one, other))
    return int(np.abs(first - second).max())
