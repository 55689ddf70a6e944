"""One YAML file, the recipe, drives every stage.

`Recipe` and its parts load torch, so they are imported at first use: naming a recipe stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.recipe.folders import DEFAULT_RECIPE, PROJECT_ROOT, RECIPES, bundled_recipes

if TYPE_CHECKING:
    from pipelines.recipe.bundled import expand_names
    from pipelines.recipe.evaluation_config import AblationConfig, ComparisonSize, EvaluationSize
    from pipelines.recipe.extends import read_content
    from pipelines.recipe.recipe import Recipe, load_recipe
    from pipelines.recipe.sections import MEASURED_DIGITS, GenerationConfig, RegistryConfig

__all__ = [
    "DEFAULT_RECIPE",
    "MEASURED_DIGITS",
    "PROJECT_ROOT",
    "RECIPES",
    "AblationConfig",
    "ComparisonSize",
    "EvaluationSize",
    "GenerationConfig",
    "Recipe",
    "RegistryConfig",
    "bundled_recipes",
    "expand_names",
    "load_recipe",
    "read_content",
]

_MODULE_OF = {
    "AblationConfig": "evaluation_config",
    "ComparisonSize": "evaluation_config",
    "EvaluationSize": "evaluation_config",
    "GenerationConfig": "sections",
    "MEASURED_DIGITS": "sections",
    "Recipe": "recipe",
    "RegistryConfig": "sections",
    "expand_names": "bundled",
    "load_recipe": "recipe",
    "read_content": "extends",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
