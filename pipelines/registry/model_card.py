"""The model card of a registered adapter: what it is, what was measured, what it is not for."""

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from fairgen.adapters import Adapter
from fairgen.base_model import short
from pipelines.recipe import Recipe
from pipelines.registry.description import MEASURED

_TEMPLATE = Path(__file__).parent / "model_card.md"


def model_card(recipe: Recipe, adapter: Adapter, tags: Mapping[str, str], grid: str) -> ModelCard:
    """Return an adapter's card; `tags` are those of its version, `grid` the picture's file name, or
    "" for none.
    """
    metadata = adapter.metadata
    data = ModelCardData(
        base_model=recipe.base,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["lora", "fairgen", metadata.attribute, metadata.category],
    )
    return ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        name=adapter.name,
        recipe=recipe.name,
        base=recipe.base,
        m=metadata,
        base_fingerprint=short(metadata.base_fingerprint),
        categories=list(recipe.attribute(metadata.attribute).names),
        sha256=adapter.sha256,
        measured={text: tags[key] for key, text in MEASURED.items() if key in tags},
        grid=grid,
    )
