"""The files of a comparison's run: weights, costs, sweeps, scores and pictures."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.baselines import Weights
from fairgen.calibration import Confusion
from fairgen.files import written_whole
from fairgen.judging import EmbeddedImages, PromptScore, hit_rates
from fairgen.pictures import png
from pipelines.experiments.comparison.conditions import CALIBRATION, EvalCondition
from pipelines.experiments.comparison.systems import FAIRGEN
from pipelines.experiments.worker import Method
from pipelines.files import write, write_bytes
from pipelines.recipe import Recipe


class SweepPoint(BaseModel):
    """One setting of a method's knob, on concepts that it was trained on: its FD, mean over
    attributes and prompts, and how often the judge still recognised the concept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: float
    fd: float
    recognised: float

    @property
    def merit(self) -> float:
        """The figure that the best setting maximises: fairness is worth nothing where the concept
        is lost.
        """
        return self.recognised - self.fd


class MethodCost(BaseModel):
    """The denoiser rows that training has spent, and those of a picture at each step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    denoiser_rows: int
    rows_per_image: float


def method_folder(folder: Path, method: Method) -> Path:
    return folder / "systems" / method.__name__


def cost_path(folder: Path, method: Method) -> Path:
    return method_folder(folder, method) / "cost.json"


def sweep_point_path(folder: Path, method: Method, setting: float) -> Path:
    return method_folder(folder, method) / f"trial-{setting:g}.json"


def score_path(folder: Path, condition: EvalCondition, name: str, concept: str) -> Path:
    return folder / condition.slug / name / f"{concept.replace(' ', '-')}.json"


def calibration_paths(recipe: Recipe, folder: Path) -> list[Path]:
    """Return the paths of the scores that calibration leaves, concept by concept."""
    assert recipe.comparison is not None
    concepts = recipe.comparison.calibration.concepts
    return [score_path(folder, CALIBRATION, FAIRGEN.name, concept) for concept in concepts]


def save_weights(folder: Path, method: Method, weights: Weights) -> None:
    """Write a method's trained weights."""
    from safetensors.torch import save_file

    method_folder(folder, method).mkdir(parents=True, exist_ok=True)
    with written_whole(method_folder(folder, method) / "weights.safetensors") as partial:
        save_file(weights, partial)


def load_weights(folder: Path, method: Method) -> Weights:
    """Return a method's trained weights."""
    from safetensors.torch import load_file

    return load_file(method_folder(folder, method) / "weights.safetensors")


def sweep_points(folder: Path, method: Method) -> list[SweepPoint]:
    """Return the settings of a method's knob that were measured, in their order."""
    paths = [sweep_point_path(folder, method, setting) for setting in method.settings]
    return [SweepPoint.model_validate_json(path.read_text()) for path in paths if path.exists()]


def best_setting(folder: Path, method: Method) -> float:
    """Return the setting with the most merit; of a method without a knob its only one."""
    points = sweep_points(folder, method)
    return max(points, key=lambda point: point.merit).setting if points else method.settings[0]


def load_cost(folder: Path, method: Method) -> MethodCost:
    return MethodCost.model_validate_json(cost_path(folder, method).read_text())


def measured_confusions(recipe: Recipe, folder: Path) -> dict[str, Confusion]:
    """Return how often each category was seen where FairGen asked for each, by attribute, on the
    concepts of calibration; an attribute is left out if one of its categories was not asked.
    """
    scores = [
        PromptScore.model_validate_json(path.read_text())
        for path in calibration_paths(recipe, folder)
    ]
    tables = {attribute.name: hit_rates(scores, attribute) for attribute in recipe.attributes}
    return {
        name: rows for name, rows in tables.items() if set(rows) == {*recipe.attribute(name).names}
    }


def save_score(path: Path, score: PromptScore, embedded: EmbeddedImages) -> None:
    """Write pictures as one PNG strip, their features, and last the score: then all are there."""
    from safetensors.torch import save

    save_pictures(path, embedded.images)
    features = save({"features": embedded.features.contiguous()})
    write_bytes(path.with_suffix(".safetensors"), features)
    write(path, score.model_dump_json())


def load_embedded(path: Path) -> EmbeddedImages:
    """Return the pictures beside a score, with the judge's features of them, N x D."""
    from safetensors.torch import load_file

    features = load_file(path.with_suffix(".safetensors"))["features"]
    return EmbeddedImages(load_pictures(path), features)


def save_pictures(path: Path, images: Sequence[Image.Image]) -> None:
    """Write pictures as one PNG strip beside a score."""
    from diffusers.utils import make_image_grid

    path.parent.mkdir(parents=True, exist_ok=True)
    strip = make_image_grid([image.convert("RGB") for image in images], 1, len(images))
    write_bytes(path.with_suffix(".png"), png(strip))


def load_pictures(path: Path) -> list[Image.Image]:
    """Return the pictures of a strip of square pictures beside a score."""
    strip = Image.open(io.BytesIO(path.with_suffix(".png").read_bytes())).convert("RGB")
    side = strip.height
    return [strip.crop((x, 0, x + side, side)) for x in range(0, strip.width, side)]
