"""Where recipes lie, and the one that is used when none is named."""

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RECIPES = PROJECT_ROOT / "pipelines" / "recipes"
DEFAULT_RECIPE = Path("pipelines/recipes/portraits.yaml")
