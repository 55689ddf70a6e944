"""How a judge errs is counted on pictures that people have labelled, and belongs to categories."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from PIL import Image

from fairgen.indicator import TargetDistribution
from fairgen.judging.judge import Perception
from fairgen.judging.judge_confusion import JudgeConfusion, measure_confusion
from fairgen.judging.portraits import PortraitJudge
from fairgen.portraits import draw_all
from tests.tiny import AGE, ATTRIBUTES, GENDER


class BrightnessJudge:
    """Takes whoever is bright for a man, in an order of its own."""

    heads: ClassVar = {"gender": ("man", "woman"), "concept": ("doctor",)}

    def read(self, images: Sequence[Image.Image]) -> Perception:
        bright = torch.tensor([float(image.convert("L").getpixel((0, 0)) > 99) for image in images])
        return Perception({"gender": torch.stack([bright, 1 - bright], 1)}, torch.ones(1, 1))

    def text_feature(self, text: str) -> torch.Tensor:
        return torch.ones(1)


def label(folder: Path, attribute: str, category: str, *greys: int) -> None:
    """Write pictures into the folder of a category."""
    (folder / attribute / category).mkdir(parents=True)
    for number, grey in enumerate(greys):
        image = Image.new("L", (8, 8), grey)
        image.save(folder / attribute / category / f"{number}.png")


def test_a_judge_s_mistakes_are_counted_by_category(tmp_path: Path) -> None:
    label(tmp_path, "gender", "woman", 0, 0, 200)
    label(tmp_path, "gender", "man", 200, 200)
    found = measure_confusion(BrightnessJudge(), ATTRIBUTES, tmp_path)
    assert found.counts == {"gender": {"woman": {"woman": 2, "man": 1}, "man": {"man": 2}}}
    assert "5 labelled pictures" in found.source
    assert JudgeConfusion.model_validate_json(found.model_dump_json()) == found


def test_folders_that_name_no_category_and_files_that_are_no_pictures_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            measure_confusion(BrightnessJudge(), ATTRIBUTES, tmp_path)

    refused("labelled: .* holds nothing, allowed are")
    label(tmp_path, "gender", "woman", 0)
    refused("labelled/gender: got no picture of 'man'")
    label(tmp_path, "gender", "man", 200)
    label(tmp_path, "gender", "boy", 200)
    refused(r"labelled/gender: got \['boy'\], allowed are folders named \['man', 'woman'\]")
    for path in (tmp_path / "gender" / "boy").iterdir():
        path.rename(tmp_path / "gender" / "man" / "no-picture.png").write_text("text")
    (tmp_path / "gender" / "boy").rmdir()
    refused("no-picture.png is no picture")
    (tmp_path / "gender" / "man" / "no-picture.png").unlink()
    large = tmp_path / "gender" / "man" / "large.png"
    Image.new("1", (64, 64)).save(large)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    refused(r"large\.png is no picture: Image size \(4096 pixels\) exceeds limit")
    large.unlink()
    (tmp_path / "height").mkdir()
    refused(r"labelled: got \['height'\], allowed are folders named")


def test_the_judge_that_ships_errs_as_its_file_says(tmp_path: Path) -> None:
    """In drawings that nobody chose it names every category rightly, as in those of the file."""
    model = Path("fairgen/portraits/model")
    shipped = JudgeConfusion.model_validate_json((model / "judge_confusion.json").read_text())
    for category in ("woman", "man"):
        folder = tmp_path / "gender" / category
        folder.mkdir(parents=True)
        drawings = draw_all("doctor", [{"gender": category}] * 20, random.Random(0))
        for number, image in enumerate(drawings):
            image.save(folder / f"{number}.png")
    found = measure_confusion(PortraitJudge(model), ATTRIBUTES, tmp_path)
    assert found.counts["gender"] == {"woman": {"woman": 20}, "man": {"man": 20}}
    for category, row in shipped.counts["gender"].items():
        assert set(row) == {category} and row[category] > 1000


def test_a_judge_s_confusion_follows_the_order_of_the_target_s_cells() -> None:
    table = {"woman": {"woman": 8, "man": 2}, "man": {"man": 10}}
    confusion = JudgeConfusion(source="drawings", counts={"gender": table})
    target = TargetDistribution.from_request({"gender": {"man": 0.5, "woman": 0.5}}, ATTRIBUTES)
    (error,) = confusion.errors(target)
    first = target.cells[0][0]
    expected = [[8, 2], [0, 10]] if first == "woman" else [[10, 0], [2, 8]]
    assert error.counts.tolist() == expected
    both = TargetDistribution.from_request({"gender": "uniform", "age": "uniform"}, ATTRIBUTES)
    assert confusion.errors(both) == []  # how the judge errs in age nobody measured


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"woman": {"woman": 1}}, r"confusion.gender: got \['woman'\], allowed is a row for each"),
        ({"woman": {"girl": 1}, "man": {"man": 1}}, "confusion.gender: got"),
        ({"woman": {"woman": 1}, "man": {}}, r"confusion.gender: got no picture of \['man'\]"),
    ],
)
def test_a_confusion_of_other_categories_is_refused(
    table: dict[str, dict[str, int]], message: str
) -> None:
    confusion = JudgeConfusion.model_validate_json(
        json.dumps({"source": "", "counts": {"gender": table}})
    )
    with pytest.raises(ValueError, match=message):
        confusion.check((GENDER, AGE))
