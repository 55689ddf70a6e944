"""The endpoint that clients talk to: in this process, with the one table of names that an operator
writes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.recipe.recipe import Recipe
from pipelines.serve.models import read_aliases
from tests.pipelines.conftest import make_recipe, tiny_base, tracking_uri
from tests.pipelines.endpoint import Endpoint, open_endpoint
from tests.pipelines.serve.conftest import make_served

__all__ = ["endpoint", "make_recipe", "make_served", "tiny_base", "tracking_uri"]


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, make_served: Callable[..., Recipe]) -> Iterator[Endpoint]:
    """An endpoint that paints two sizes, the smaller of them by itself."""
    recipe = make_served("portraits", generation={"sizes": ["16x16", "32x16"]})
    aliases = read_aliases(Path(__file__).with_name("models.yaml"))
    yield from open_endpoint(recipe, tracking_uri=tracking_uri, models=aliases)
