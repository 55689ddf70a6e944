"""Predictions that are forecast: the engine paints what the family's own pipeline paints with
diffusers' TaylorSeer on the denoiser's last layer, each row by itself.
"""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, TaylorSeerCacheConfig
from diffusers.hooks import apply_taylorseer_cache
from diffusers.models import CacheMixin

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob, ImageResult, StartImage
from fairgen.sampling import TaylorSeer
from tests.fairgen.engine.test_edits import picture
from tests.families import SIZE_PX, tiny
from tests.painted import as_numbers, assert_same, ours, theirs

CONFIGS = (
    TaylorSeer(cache_interval=2),
    TaylorSeer(cache_interval=3, max_order=2),
    TaylorSeer(cache_interval=4, disable_cache_before_step=1, max_order=0),
    TaylorSeer(cache_interval=5, disable_cache_before_step=2, disable_cache_after_step=7),
)
LAST_LAYER = {"cache_identifiers": ["proj_out", "conv_out"]}
LITE = {"use_lite_mode": True}  # it needs blocks that return tensors only


def of_diffusers(
    pipe: DiffusionPipeline, config: TaylorSeer, where: dict[str, Any], **options: Any
) -> np.ndarray:
    """Return what the pipeline paints with diffusers' own TaylorSeer."""
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    like = {**vars(config), "taylor_factors_dtype": torch.float32}
    apply_taylorseer_cache(denoiser, TaylorSeerCacheConfig(**like, **where))
    with CacheMixin.cache_context(denoiser, "the call"):  # some pipelines set none
        return theirs(pipe, **options)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("family", "where"),
    [("SD 1.x", LAST_LAYER), ("SDXL", LAST_LAYER), ("SD 3.5", LAST_LAYER), ("PixArt-sigma", LITE),
     ("FLUX.1 dev", LITE), ("Qwen-Image", LAST_LAYER)],
)  # fmt: skip
def test_forecasts_are_diffusers_own(
    family: str, where: dict[str, Any], config: TaylorSeer
) -> None:
    pipe = tiny(family)
    whole = ours(pipe, num_steps=10)
    found = ours(pipe, num_steps=10, taylorseer=config)
    assert_same(of_diffusers(pipe, config, where, num_inference_steps=10), found)
    assert np.abs(whole - found).max() > 1, "forecasts have an effect"


@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.4, 1.0), (0.35, 0.75)])
def test_guidance_holds_at_forecast_steps_as_at_others(interval: tuple[float, float]) -> None:
    pipe = tiny("SD 1.x")
    asked = {"num_steps": 10, "guidance_scale": 20.0, "guidance_interval": interval}
    whole, bare = ours(pipe, **asked), ours(pipe, **asked | {"guidance_interval": (0.0, 0.0)})
    found = ours(pipe, **asked, taylorseer=TaylorSeer())
    assert 0 < np.abs(found - whole).mean() < np.abs(bare - whole).mean() / 2
    never = TaylorSeer(disable_cache_before_step=10)
    assert_same(whole, ours(pipe, **asked, taylorseer=never), grey_levels=0)


def test_pictures_with_and_without_forecasts_share_a_batch() -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    start = StartImage(picture(), 0.6)
    jobs = [
        ImageJob("a photo of a doctor", 1, num_steps=9),
        ImageJob("a photo of a doctor", 2, num_steps=9, taylorseer=CONFIGS[0]),
        ImageJob("a photo of a doctor", 3, num_steps=12, taylorseer=CONFIGS[1]),
        ImageJob("a nurse", 4, num_steps=7, taylorseer=CONFIGS[2], guidance_interval=(0.3, 0.8)),
        ImageJob("a nurse", 5, num_steps=9, taylorseer=CONFIGS[3], start=start),
    ]
    alone = [as_numbers(engine.paint([job])[0]) for job in jobs]
    together = [as_numbers(image) for image in engine.paint(jobs)]
    engine.close()
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_a_forecast_takes_no_row_and_previews_come_all_the_same() -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    config = TaylorSeer(cache_interval=3)
    engine.submit([ImageJob("a doctor", 1, num_steps=9, taylorseer=config, preview_at=(3, 5, 8))])
    rows, shown = [], []
    while engine.pending:
        events = engine.step()
        rows.append(engine.last_rows)
        shown += [event.step for event in events if isinstance(event, ImageResult)]
    engine.close()
    assert rows == [2, 2, 2, 2, 2], "steps 0, 1, 2, 4 and 7 of 9"
    assert shown == [3, 5, 9], "8 is gone past on the last pass, which shows the picture itself"


@pytest.mark.parametrize(
    ("config", "forecast"),
    [
        (TaylorSeer(), {3, 5, 7, 9, 11}),
        (TaylorSeer(cache_interval=3), {3, 5, 6, 8, 9, 11}),
        (TaylorSeer(disable_cache_after_step=8), {3, 5, 7}),
        (TaylorSeer(disable_cache_before_step=12), set()),
    ],
)
def test_which_steps_are_forecast(config: TaylorSeer, forecast: set[int]) -> None:
    assert config.forecast_steps(12, range(12)) == forecast
    assert config.forecast_steps(12, range(0)) == forecast


def test_a_step_with_which_guidance_begins_is_computed() -> None:
    assert TaylorSeer().forecast_steps(12, range(5, 12)) == {3, 7, 9, 11}
