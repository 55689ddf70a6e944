"""Where the recipes that ship lie, and which one is used when none is named."""

from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RECIPES = PROJECT_ROOT / "pipelines" / "recipes"
DEFAULT_RECIPE = Path("portraits")


def bundled_recipes() -> dict[str, Path]:
    """Return the files of the recipes that ship, by name."""
    return {file.stem: file for file in sorted(RECIPES.glob("*.yaml"))}


def resolve_path(path: str | Path) -> Path:
    """Return a path; a relative one that only the project's root has begins there."""
    path = Path(path)
    if not path.is_absolute() and not path.exists() and (PROJECT_ROOT / path).exists():
        return PROJECT_ROOT / path
    return path
