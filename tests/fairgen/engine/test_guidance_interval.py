"""Guidance that holds for a part of the steps: the engine paints what the pipeline paints whose
callback turns guidance off, and takes one row a picture from then on.
"""

from typing import Any

import pytest
from torch import Tensor

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob, StartImage
from fairgen.sampling import guided_steps
from tests.fairgen.engine.test_edits import picture
from tests.families import SIZE_PX, tiny
from tests.painted import as_numbers, assert_same, ours, theirs

GUIDED = ("SD 1.x", "SD 2.x", "SDXL", "SD 3", "SD 3.5")
INPUTS = {"SDXL": ["add_text_embeds", "add_time_ids"], "SD 3": ["pooled_prompt_embeds"],
          "SD 3.5": ["pooled_prompt_embeds"]}  # fmt: skip


def ended_by_callback(family: str, after: int) -> dict[str, Any]:
    """Return the pipeline's options with which guidance ends after so many steps."""
    inputs = ["prompt_embeds", *INPUTS.get(family, ())]

    def end(pipe: Any, index: int, _: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if index + 1 != after:
            return {}
        pipe._guidance_scale = 0.0
        return {name: tensors[name].chunk(2)[-1] for name in inputs}

    return {"callback_on_step_end": end, "callback_on_step_end_tensor_inputs": inputs}


@pytest.mark.parametrize("family", GUIDED)
def test_guidance_that_ends_is_that_of_a_callback(family: str) -> None:
    pipe = tiny(family)
    options = ended_by_callback(family, after=3)
    expected = theirs(pipe, num_inference_steps=6, guidance_scale=20.0, **options)
    whole = theirs(pipe, num_inference_steps=6, guidance_scale=20.0)

    found = ours(pipe, num_steps=6, guidance_scale=20.0, guidance_interval=(0.0, 0.5))

    assert_same(expected, found)
    assert abs(whole - found).max() > 1, "guidance has an effect on the last steps"


def test_pictures_of_different_intervals_share_a_batch() -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    intervals = [(0.0, 1.0), (0.0, 0.5), (0.3, 0.7), (0.0, 0.0), (1.0, 1.0)]
    jobs = [
        ImageJob("a photo of a doctor", seed, num_steps=6, guidance_interval=interval)
        for seed, interval in enumerate(intervals)
    ]
    alone = [as_numbers(engine.paint([job])[0]) for job in jobs]
    together = [as_numbers(image) for image in engine.paint(jobs)]
    engine.close()

    for one, other in zip(alone, together, strict=True):
        assert_same(one, other)


def test_no_guided_step_is_guidance_of_one() -> None:
    pipe = tiny("SD 1.x")
    assert_same(
        ours(pipe, guidance_scale=1.0), ours(pipe, guidance_interval=(0.0, 0.0)), grey_levels=0
    )


def test_rows_are_free_where_guidance_has_ended() -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX), max_rows=16)
    half = {"num_steps": 4, "guidance_interval": (0.0, 0.5)}
    engine.submit([ImageJob("a photo of a doctor", seed, **half) for seed in range(32)])  # type: ignore[arg-type]
    rows = []
    while engine.pending:
        engine.step()
        rows.append(engine.last_rows)
    engine.close()

    assert max(rows) == 16, "as many as the bound lets in"
    assert sum(rows) == 32 * (2 * 2 + 2), "two rows at two steps, one at two"
    assert len(rows) < 15, "where guidance never ends eight at once take 16 steps"


def test_an_edit_counts_the_steps_that_it_takes() -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    start = StartImage(picture(), 0.5)
    engine.submit([ImageJob("a", 1, num_steps=8, start=start, guidance_interval=(0.0, 0.5))])
    rows = []
    while engine.pending:
        engine.step()
        rows.append(engine.last_rows)
    engine.close()

    assert rows == [2, 2, 1, 1]


def test_shares_are_rounded_as_diffusers_guiders_round() -> None:
    assert guided_steps(12, (0.0, 1.0)) == range(12)
    assert guided_steps(12, (0.1, 0.55)) == range(1, 6)
    assert guided_steps(1, (0.0, 0.5)) == range(0)


@pytest.mark.parametrize("interval", [(-0.1, 1.0), (0.0, 1.1), (0.6, 0.5), (0.0, float("nan"))])
def test_what_is_no_part_of_the_steps_is_refused(interval: tuple[float, float]) -> None:
    engine = Engine(load_backbone(tiny("SD 1.x"), SIZE_PX))
    with pytest.raises(ValueError, match=r"guidance_interval: got .* allowed are shares"):
        engine.submit([ImageJob("a", 1, guidance_interval=interval)])
    engine.close()


def test_a_model_that_is_told_its_guidance_has_no_interval() -> None:
    engine = Engine(load_backbone(tiny("FLUX.1 dev"), SIZE_PX))
    with pytest.raises(ValueError, match=r"guidance_interval: got 0\.0 to 0\.5, allowed is all"):
        engine.submit([ImageJob("a", 1, guidance_interval=(0.0, 0.5))])
    engine.close()
