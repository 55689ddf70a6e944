"""What a registered version says of itself, and whether that is enough to be champion."""

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute
from fairgen.base_model import short
from pipelines.recipe import MEASURED_DIGITS, Recipe

if TYPE_CHECKING:
    from pipelines.evaluation import Evaluation

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Confusion = TypeAdapter(dict[str, _Share])
UNMEASURED = "unmeasured"
log = logging.getLogger(__name__)


def meets_thresholds(recipe: Recipe, attribute: Attribute, evaluation: "Evaluation") -> bool:
    """Return whether an attribute's measured FD and every category's hit rate reach the recipe's
    thresholds; what was asked in no picture that counts has none.
    """
    if attribute.name not in evaluation.fairness:
        return False
    lowest = evaluation.lowest_hit_rate(attribute)
    fd = evaluation.fairness[attribute.name]["fairgen"].fd
    return lowest is not None and recipe.thresholds[attribute.name].met(fd, [lowest])


def version_tags(adapter: Adapter) -> dict[str, str]:
    """Return what a version is."""
    metadata = adapter.metadata
    return {
        "attribute": metadata.attribute,
        "category": metadata.category,
        "word": metadata.word,
        "recipe_hash": metadata.recipe_hash,
        "base_fingerprint": short(metadata.base_fingerprint),
        "sha256": adapter.sha256,
        "rank": str(metadata.rank),
        "alpha": str(metadata.alpha),
        "eta": str(metadata.eta),
    }


def measured_tags(adapter: Adapter, evaluation: "Evaluation | None") -> dict[str, str]:
    """Return what an evaluation says of a version, nothing without one, and nothing of an attribute
    that it does not ask. The hit rate of a category that was asked in no picture that counts is
    "unmeasured", and hides an earlier one.
    """
    if evaluation is None or adapter.metadata.attribute not in evaluation.fairness:
        return {}
    attribute, category = adapter.metadata.attribute, adapter.metadata.category
    row = evaluation.hit_rates["all"][attribute].get(category)
    abstained = evaluation.fairness[attribute]["fairgen"].abstained
    return {
        "fd": _written(evaluation.fairness[attribute]["fairgen"].fd),
        "base_fd": _written(evaluation.fairness[attribute]["base"].fd),
        "hit_rate": UNMEASURED if row is None else _written(row[category]),
        "confusion": UNMEASURED
        if row is None
        else json.dumps({seen: round(share, MEASURED_DIGITS) for seen, share in row.items()}),
        "recognised": _written(evaluation.preservation["fairgen"].recognised),
        "same_seed_ssim": _written(evaluation.preservation["fairgen"].ssim),
        **({"abstained": _written(abstained.share.value)} if abstained else {}),
    }


def measured_confusion(tags: Mapping[str, str]) -> dict[str, float] | None:
    """Return what was seen where a version's category was asked, category -> share; None where it
    was not measured, or the tag is no such table.
    """
    if tags.get("confusion", UNMEASURED) == UNMEASURED:
        return None
    try:
        return _Confusion.validate_json(tags["confusion"])
    except ValidationError:
        log.warning("a tag `confusion` is no table of shares, and is not used")
        return None


def _written(figure: float) -> str:
    return f"{figure:.{MEASURED_DIGITS}f}"
