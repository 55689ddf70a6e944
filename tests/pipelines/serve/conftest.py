"""Recipes that are served: their champions stand in the session's registry."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.recipe.recipe import Recipe, load_recipe
from tests.pipelines.registered import register_champions


@pytest.fixture(scope="session")
def make_served(
    tracking_uri: str, make_recipe: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Recipe]:
    """Return a function that writes a recipe of a name and registers champions of it."""

    def serve(name: str, **sections: Any) -> Recipe:
        folder = tmp_path_factory.mktemp(name)
        recipe = load_recipe(make_recipe(folder, name, **sections))
        register_champions(tracking_uri, recipe, folder / "adapters", seed=1)
        return recipe

    return serve
