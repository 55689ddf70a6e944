"""What the base model's own safety checker flags leaves the engine as it leaves the pipeline:
black, previews included, and it is said.
"""

import logging

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageError, ImageJob, ImageResult
from tests.families import SIZE_PX, tiny
from tests.painted import NUM_STEPS, PROMPT
from tests.tiny import add_safety_checker

SEEDS = range(8)


def results(
    pipe: StableDiffusionPipeline, preview_at: tuple[int, ...] = (), num_steps: int = NUM_STEPS
) -> dict[int, list[ImageResult]]:
    """Return what an engine shows of each seed's picture."""
    engine = Engine(load_backbone(pipe, SIZE_PX))
    engine.submit([
        ImageJob(PROMPT, seed, {}, num_steps, 4.0, preview_at=preview_at) for seed in SEEDS
    ])  # fmt: skip
    shown: dict[int, list[ImageResult]] = {seed: [] for seed in SEEDS}
    for event in engine.run():
        assert not isinstance(event, ImageError), event.error
        shown[event.index].append(event)
    engine.close()
    return shown


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_the_pipeline_flags_is_flagged_and_black(dtype: torch.dtype) -> None:
    pipe = add_safety_checker(tiny("SD 1.x"), threshold=0.55).to(dtype)
    call = {"num_inference_steps": NUM_STEPS, "guidance_scale": 4.0}
    outputs = [pipe(PROMPT, generator=torch.Generator().manual_seed(s), **call) for s in SEEDS]
    flagged = [output.nsfw_content_detected[0] for output in outputs]
    assert any(flagged) and not all(flagged)
    for seed, [result] in results(pipe).items():
        assert result.flagged == flagged[seed]
        theirs = np.asarray(outputs[seed].images[0], float)
        assert (theirs.max() == 0) == flagged[seed]
        if dtype == torch.float32:
            assert np.abs(np.asarray(result.image, float) - theirs).max() <= 1
        assert (np.asarray(result.image).max() == 0) == flagged[seed]


def test_a_preview_shows_nothing_that_the_picture_would_not() -> None:
    pipe = add_safety_checker(tiny("SD 1.x"), threshold=-2.0)
    for shown in results(pipe, preview_at=(1, 3)).values():
        assert [result.step for result in shown] == [1, 3, NUM_STEPS]
        assert all(result.flagged and np.asarray(result.image).max() == 0 for result in shown)


def test_a_checker_that_flags_nothing_changes_no_picture() -> None:
    bare = results(tiny("SD 1.x"))
    checked = results(add_safety_checker(tiny("SD 1.x"), threshold=2.0))
    for seed in SEEDS:
        assert bare[seed][0].flagged is None and checked[seed][0].flagged is False
        assert bare[seed][0].image.tobytes() == checked[seed][0].image.tobytes()


def test_pictures_painted_in_one_call_say_in_the_log_how_many_are_black(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipe = add_safety_checker(tiny("SD 1.x"), threshold=-2.0)
    with caplog.at_level(logging.WARNING):
        Engine(load_backbone(pipe, SIZE_PX)).paint([ImageJob(PROMPT, 1, num_steps=1)] * 2)
    assert "2 of 2 pictures are black: the base model's safety checker flagged" in caplog.text
