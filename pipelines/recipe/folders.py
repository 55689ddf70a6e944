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


def located(model: str) -> str:
    """Return where a model loads from: an absolute path, or a hub id as it stands."""
    path = resolve_path(model)
    return str(path.resolve()) if path.exists() else model


def check_saved(field: str, model: str) -> None:
    """Raise ValueError for what is neither a folder nor can be a model of the hub."""
    if resolve_path(model).is_dir():
        return
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ValueError(
            f"{field}: got {model!r}, which is no folder; allowed are a folder that "
            "save_pretrained left, and a model of the hub as owner/name"
            + ("" if field != "base" else ", or a .safetensors file with loading.config")
        )
