"""The judge of faces in a recipe: checked before anything starts, measured beside CLIP, and looked
through by the inspector; abstentions are told everywhere.
"""

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from PIL import Image, ImageOps
from rich.console import Console

from pipelines.evaluation import (
    Judges,
    PromptPlan,
    evaluation_table,
    measure_prompt,
    summarise,
)
from pipelines.recipe import load_recipe
from pipelines.recipe.preflight import check_models
from pipelines.serve.inspector import InspectorService
from tests.tiny import save_tiny_clip

pytestmark = pytest.mark.faces
CLASSES = {
    "gender": {"gender": {"woman": "female", "man": "male"}},
    "age": {"years": {"young": [0, 35], "old": [60, 120]}},
}


class Album:
    """Paints the same four pictures for every plan: a face, nobody, its mirror image, nobody."""

    def __init__(self) -> None:
        folder = Path(matplotlib.get_data_path()) / "sample_data"
        with Image.open(folder / "grace_hopper.jpg") as image:
            face = image.convert("RGB").resize((256, 300))
        nobody = Image.new("RGB", face.size, "white")
        self.pictures = [face, nobody, ImageOps.mirror(face), nobody]

    def paint(self, plan: PromptPlan) -> list[Image.Image]:
        return self.pictures


@pytest.fixture
def recipe_path(write_recipe: Callable[..., Path], tmp_path: Path) -> Path:
    clip = str(save_tiny_clip(tmp_path))
    judge = {"kind": "onnx-faces", "path": clip, "classes": CLASSES}
    return write_recipe(judge=judge, second_judge={"kind": "clip", "path": clip})


def test_pictures_without_a_face_are_told_in_the_evaluation(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    check_models(recipe)
    judges, album = Judges.load(recipe), Album()
    categories = [{"gender": g, "age": "old"} for g in ("woman", "man", "man", "woman")]
    plan = PromptPlan("nurse", "a photo of a {subject}", "nurse", range(4), categories)
    scores = [
        measure_prompt(album, plan, judges, system)[0].model_copy(update={"second": second})
        for system, second in (("base", None), ("fairgen", None))
    ]
    found = summarise(recipe, scores, {})
    gender = found.fairness["gender"]["fairgen"]
    assert gender.abstained is not None and gender.abstained.share.value == 0.5
    assert gender.prompts["nurse"].n == 2 and gender.fd == pytest.approx(0.5**0.5)
    hits = found.hits["all"]["gender"]
    assert (hits["woman"].n, hits["man"].n) == (1, 1)  # she is taken for a man, twice
    assert (hits["woman"].seen.value, hits["man"].seen.value) == (0, 1)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(evaluation_table(found))
    assert "judge abstained" in console.export_text()


def test_it_abstains_where_clip_differs_and_agreement_is_about_faces(recipe_path: Path) -> None:
    recipe = load_recipe(recipe_path)
    judges = Judges.load(recipe)
    plan = PromptPlan("nurse", "a photo of a {subject}", "nurse", range(4), [{}] * 4)
    score, _ = measure_prompt(Album(), plan, judges, "base")
    assert score.second is not None and score.abstained["age"] == [False, True, False, True]
    both = [score.second.seen["age"][index] == score.seen["age"][index] for index in (0, 2)]
    assert score.counted(["age"]) == [both[0], False, both[1], False]
    assert len(score.seen_by_both("age")) == 2


def test_the_inspector_leaves_pictures_without_a_face_out(recipe_path: Path) -> None:
    service, (face, nobody, *_) = InspectorService(load_recipe(recipe_path)), Album().pictures

    def png(image: Image.Image) -> bytes:
        (file := io.BytesIO()).name = "picture.png"
        image.save(file)
        return file.getvalue()

    asked = {"gender": "man", "age": "old"}
    assert service.inspect(png(nobody), asked) == {}
    found = service.inspect(png(face), asked)
    assert {name: one.seen for name, one in found.items()} == asked
    assert found["gender"].hit_rate == 1  # of one picture, not of two


def test_attributes_that_no_face_shows_are_refused_before_anything_starts(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    clip = str(save_tiny_clip(tmp_path))
    judge = {"kind": "onnx-faces", "path": clip, "classes": {"gender": CLASSES["gender"]}}
    recipe = load_recipe(write_recipe(judge=judge))
    with pytest.raises(ValueError, match=r"judge\.classes: got nothing for \['age'\], allowed is"):
        check_models(recipe)
