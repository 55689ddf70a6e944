"""What a version's page in the registry opens on: what it is, what was measured, a grid, limits."""

from collections.abc import Mapping

from fairgen.adapters import Adapter
from pipelines.recipe import Recipe
from pipelines.registry.server import SMALL_GRID
from pipelines.registry.versions import Registry

MEASURED = {
    "hit_rate": "hit rate: pictures asked for the category in which the judge sees it",
    "fd": "fairness discrepancy of the attribute, with its adapters, by quota",
    "base_fd": "the same of the base model",
    "abstained": "pictures in which the judge named no category, left out of both",
    "recognised": "concept recognised",
    "same_seed_ssim": "same-seed SSIM with the base model's pictures",
}


def describe(
    registry: Registry,
    name: str,
    number: str,
    adapter: Adapter,
    tags: Mapping[str, str],
    run_id: str,
) -> None:
    """Write the description of a version, and of its registered model; `tags` are the version's,
    the grid is its run's.
    """
    client = registry.client
    has_grid = any(file.path == SMALL_GRID for file in client.list_artifacts(run_id))
    grid = f"get-artifact?path={SMALL_GRID}&run_uuid={run_id}" if has_grid else ""
    text = version_description(registry.recipe, adapter, tags, grid)
    client.update_model_version(name, number, text)
    of_model = f"Adapters that draw people as {adapter.metadata.word}, on {registry.recipe.base}."
    client.update_registered_model(name, of_model)


def version_description(
    recipe: Recipe, adapter: Adapter, tags: Mapping[str, str], grid_url: str
) -> str:
    """Return the Markdown that a version's page in the registry opens on; `grid_url` is "" where no
    pictures were painted.
    """
    metadata = adapter.metadata
    categories = ", ".join(recipe.attribute(metadata.attribute).names)
    lines = [
        f"Draws people as **{metadata.word}** where a prompt leaves that open: one adapter of "
        f"`{metadata.attribute}` ({categories}) for `{recipe.base}`.",
        "",
    ]
    measured = [f"| {text} | {tags[key]} |" for key, text in MEASURED.items() if key in tags]
    if measured:
        lines += ["| measured | |", "|---|---|", *measured]
    else:
        lines += ["Not measured yet: `fairgen evaluate` measures candidates and champions."]
    if grid_url:
        lines += ["", f"![Same seeds, indicator off and on]({grid_url})"]
    lines += [
        "",
        "Perceived presentation in a picture, worded by the operator: it says nothing about who "
        "somebody is. Figures hold for the prompts and the judge that they were measured with.",
    ]
    return "\n".join(lines)
