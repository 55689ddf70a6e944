"""A service whose base model would not be followed does not start, and says why."""

from collections.abc import Callable
from pathlib import Path

import pytest
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

from pipelines.recipe.recipe import load_recipe
from pipelines.serve.generator import GeneratorService
from pipelines.serve.settings import ServeSettings
from tests.tiny import tiny_pipeline


def test_a_scheduler_that_is_not_followed_is_refused_at_the_start(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    pipe = tiny_pipeline()
    pipe.register_modules(scheduler=DPMSolverMultistepScheduler(solver_order=3))
    pipe.save_pretrained(tmp_path / "base")
    path = make_recipe(tmp_path, "third-order", generation={"scheduler": "own"})
    recipe = load_recipe(path, str(tmp_path / "base"))
    with pytest.raises(ValueError, match=r"^scheduler\.solver_order: got 3, allowed are 1 and 2$"):
        GeneratorService(ServeSettings(poll_s=None), recipe)


def test_more_steps_in_the_recipe_than_its_scheduler_takes_are_refused_at_the_start(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_recipe(tmp_path, "many-steps", generation={"scheduler": "lcm", "steps": 60})
    with pytest.raises(
        ValueError, match=r"^num_steps: got 60, allowed are at most 50 with LCMSche"
    ):
        GeneratorService(ServeSettings(poll_s=None), load_recipe(path))


@pytest.mark.parametrize("scheduler", ["own", "lcm"])
def test_forecasts_with_a_scheduler_that_adds_noise_are_refused_at_the_start(
    scheduler: str, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    pipe = tiny_pipeline()
    pipe.register_modules(scheduler=EulerAncestralDiscreteScheduler())
    pipe.save_pretrained(tmp_path / "base")
    generation = {"scheduler": scheduler, "taylorseer": {}}
    path = make_recipe(tmp_path, "forecast", generation=generation)
    with pytest.raises(ValueError, match=r"taylorseer: got one with .*, which adds noise at its"):
        GeneratorService(ServeSettings(poll_s=None), load_recipe(path, str(tmp_path / "base")))
