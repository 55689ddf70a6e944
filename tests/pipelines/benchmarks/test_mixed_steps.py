"""The race of mixed steps asks both sides for the same work."""

from collections.abc import Callable
from pathlib import Path

from pipelines.benchmarks.mixed_steps import STEPS, bodies_of
from pipelines.recipe.recipe import load_recipe
from pipelines.serve.schemas import ImageRequest


def test_both_sides_get_the_same_requests(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe())
    ours, theirs = bodies_of(recipe, 40)
    shared = ("prompt", "seed", "num_inference_steps")
    assert [[a[name] for name in shared] for a in ours] == [
        [b[name] for name in shared] for b in theirs
    ]
    assert {body["num_inference_steps"] for body in ours} == set(STEPS)
    for body in ours:
        request = ImageRequest.model_validate(body)
        assert request.guidance_interval == [0, 1]  # the rival is guided at all steps
        assert request.taylorseer is False  # and computes them
        assert request.fairness == {a.name: "uniform" for a in recipe.attributes}
    drawn = {tuple(body["categories"].items()) for body in theirs}
    assert len(drawn) > 2 and all(
        category in recipe.attribute(name).names for cell in drawn for name, category in cell
    )
