"""The results of an ablation, and the files of its run."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

OWN = "recipe"


class Variant(BaseModel):
    """One variant of discovery: `group` is the setting that is changed, "recipe" for none.

    `fd` is of the attribute by quota, mean over prompts, `hit_rate` its lowest over categories;
    `drift` is of each attribute that was not asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str
    value: Any
    fd: float
    interval: tuple[float, float]
    hit_rate: float
    recognised: float
    ssim: float
    drift: dict[str, float]
    denoiser_rows: int


class Point(BaseModel):
    """The share of pictures that show the category asked, once training has spent so many denoiser
    rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    denoiser_rows: int
    gradient_rows: int
    hit_rate: float


class Curve(BaseModel):
    """Hit rate over cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: list[Point]

    def reached(self, hit_rate: float) -> Point | None:
        """Return the first point with a hit rate."""
        return next((point for point in self.points if point.hit_rate >= hit_rate), None)


class Ablation(BaseModel):
    """Every variant beside the recipe's own, and the curves of learning: "fairgen", "official"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    recipe_hash: str
    attribute: str
    num_images: int
    concepts: list[str]
    variants: list[Variant]
    learning: str
    hit_rate: float
    curves: dict[str, Curve]


def variant_path(folder: Path, setting: str, value: Any) -> Path:
    return folder / f"variant-{setting}-{value}.json"


def curve_path(folder: Path, name: str) -> Path:
    return folder / f"curve-{name}.json"
