"""What edits change besides: the figures, the mask, and the experiment as a whole."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fairgen.judging import PromptScore
from pipelines.experiments.edits.edits import conditions, edits
from pipelines.experiments.edits.figures import edit_figures, net_change, shares_before
from pipelines.experiments.edits.painting import EditPainter, check_recipe, head_mask
from pipelines.experiments.edits.report import edits_table
from pipelines.experiments.edits.results import (
    AFRESH,
    BY_ADAPTERS,
    CODEC,
    DRAWN,
    GLASSES,
    OFF,
    PAINTED,
    SKIN_KEPT,
    ConceptEdits,
    Condition,
    Edits,
    ScoredEdit,
)
from pipelines.recipe import DEFAULT_RECIPE, EvaluationSize, Recipe, load_judge, load_recipe

WOMAN, MAN = 0, 1
LIGHT, TAN, BROWN, DARK = range(4)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """The shipped recipe in few steps."""
    full = load_recipe(DEFAULT_RECIPE)
    return full.model_copy(update={"generation": full.generation.model_copy(update={"steps": 3})})


@pytest.fixture(scope="module")
def painter(recipe: Recipe) -> EditPainter:
    return EditPainter(recipe, load_judge(recipe))


def score(
    gender: list[int], skin: list[int], asked: list[int] | None = None, ssim: float = 1.0
) -> PromptScore:
    num_images = len(gender)
    return PromptScore(
        system="",
        concept="doctor",
        num_images=num_images,
        asked={"gender": asked or [], "skin": []},
        seen={"gender": gender, "skin": skin},
        soft={"gender": [0.5, 0.5], "skin": [0.25] * 4},
        recognised=[True] * (num_images - 1) + [False],
        clip_t=[0.0] * num_images,
        ssim=[ssim] * num_images,
        psnr=[0.0] * num_images,
        clip_i=[0.0] * num_images,
        spread={},
    )


def test_figures_count_what_was_asked_and_what_was_not(recipe: Recipe) -> None:
    before = score([MAN, MAN, MAN, WOMAN], [DARK, BROWN, LIGHT, TAN])
    after = score([WOMAN, MAN, MAN, WOMAN], [TAN, LIGHT, TAN, TAN], [WOMAN, WOMAN, MAN, WOMAN], 0.5)
    unasked = score([WOMAN, MAN, MAN, WOMAN], [DARK, BROWN, LIGHT, TAN])
    gated = Condition(start=DRAWN, method=BY_ADAPTERS, strength=0.8, masked=False)
    off = gated.model_copy(update={"method": OFF})
    concept = ConceptEdits(
        before=before,
        edits=[
            ScoredEdit(condition=gated, score=after),
            ScoredEdit(condition=off, score=unasked),
        ],
    )
    found, without = edit_figures([concept, concept], recipe.attributes)
    assert found.condition == gated and found.num_pictures == 8
    assert found.hit is not None and found.hit.value == 3 / 4
    assert found.turned is not None and found.turned.value == 1 / 2  # of two that were no women
    assert found.fd is not None and found.fd.value == 0
    assert (found.lighter.value, found.darker.value) == (1 / 2, 1 / 4)
    assert found.net_lightening.value == 1 / 4
    assert set(found.changed) == {"skin"} and found.changed["skin"].value == 3 / 4
    assert found.recognised.value == 3 / 4 and found.ssim == 0.5
    assert without.hit is None and without.turned is None and without.fd is None
    assert without.changed["gender"].value == 1 / 4 and without.net_lightening.value == 0
    shares = shares_before([before], [a for a in recipe.attributes if a.name == "gender"])
    assert shares == {"gender": {"woman": 1 / 4, "man": 3 / 4}}


@pytest.mark.parametrize(("up", "down", "total"), [(0, 0, 192), (60, 20, 192), (20, 60, 192)])
def test_the_interval_of_a_net_change_has_a_width_and_tells_a_change(
    up: int, down: int, total: int
) -> None:
    found = net_change(up, down, total)
    low, high = found.interval
    assert found.value == (up - down) / total and low < found.value < high
    assert (low <= 0 <= high) == (up == down)
    mirrored = net_change(down, up, total)
    assert mirrored.value == -found.value and mirrored.interval[0] == pytest.approx(-high, abs=0.01)


def test_the_net_change_s_interval_holds_the_truth_as_often_as_it_says() -> None:
    truth = np.array([0.25, 0.1, 0.65])
    held = 0
    for up, down, _ in np.random.default_rng(0).multinomial(192, truth, 300):
        low, high = net_change(int(up), int(down), 192).interval
        held += low <= truth[0] - truth[1] <= high
    assert 0.91 <= held / 300 <= 0.985


def test_every_method_is_tried_at_every_strength_and_drawn_pictures_under_a_mask() -> None:
    painted, drawn = conditions(PAINTED), conditions(DRAWN)
    assert len(painted) == len(set(painted)) == 2 + 5 * 4
    assert len(drawn) == len(set(drawn)) == 2 + 5 * 4 + 3 * 4
    assert not any(one.masked for one in painted)
    assert [one.method for one in drawn].count(CODEC) == 1


def test_the_mask_shows_the_head_and_no_corner() -> None:
    mask = np.asarray(head_mask((64, 64)))
    assert set(np.unique(mask)) == {0, 255}
    assert mask[29, 32] == 255 and mask[50, 32] == 255
    assert not mask[0].any() and not mask[:, 0].any() and not mask[58:].any()
    assert head_mask((128, 64)).size == (128, 64)


def test_recipes_of_other_worlds_are_refused(recipe: Recipe) -> None:
    check_recipe(recipe)
    fewer = recipe.model_copy(update={"attributes": recipe.attributes[:1]})
    with pytest.raises(ValueError, match=r"attributes: got \['gender'\], needed are .*skin"):
        check_recipe(fewer)


def test_drawn_pictures_show_every_category_equally_often(painter: EditPainter) -> None:
    first, second = painter.starts(DRAWN, "doctor", 16), painter.starts(DRAWN, "doctor", 16)
    assert len({image.tobytes() for image in first}) == 16
    assert [image.tobytes() for image in first] == [image.tobytes() for image in second]


def test_edits_begin_from_their_pictures_and_a_mask_keeps_the_rest(painter: EditPainter) -> None:
    pictures = painter.starts(DRAWN, "doctor", 3)

    def edited(method: str, strength: float, masked: bool) -> list[Image.Image]:
        condition = Condition(start=DRAWN, method=method, strength=strength, masked=masked)
        return painter.edit(condition, "doctor", pictures)

    def distance(images: list[Image.Image], rows: slice) -> float:
        one, other = (np.stack([np.float64(i)[rows] for i in side]) for side in (images, pictures))
        return float(np.abs(one - other).mean())

    whole, below = slice(None), slice(60, 64)
    codec, weak, strong = edited(CODEC, 0, False), edited(OFF, 0.4, False), edited(OFF, 1.0, False)
    assert distance(codec, whole) < distance(weak, whole) < distance(strong, whole)
    masked = edited(OFF, 1.0, True)
    assert distance(masked, below) < 0.7 * distance(strong, below)
    gated = edited(BY_ADAPTERS, 1.0, True)
    assert any(one.tobytes() != other.tobytes() for one, other in zip(gated, masked, strict=True))


def test_what_is_painted_afresh_begins_from_no_picture(painter: EditPainter) -> None:
    condition = Condition(start=DRAWN, method=AFRESH, strength=0, masked=False)
    one, other = (painter.starts(DRAWN, concept, 2) for concept in ("doctor", "nurse"))
    afresh = painter.edit(condition, "doctor", one)
    assert [image.tobytes() for image in afresh] == [
        image.tobytes() for image in painter.edit(condition, "doctor", other)
    ]
    strongest = condition.model_copy(update={"method": OFF, "strength": 1.0})
    pairs = zip(painter.edit(strongest, "doctor", one), afresh, strict=True)
    assert all(edited.tobytes() != without.tobytes() for edited, without in pairs)


def test_a_chosen_picture_is_edited_as_among_all(painter: EditPainter) -> None:
    pictures = painter.starts(DRAWN, "nurse", 4)
    condition = Condition(start=DRAWN, method=BY_ADAPTERS, strength=0.7, masked=False)
    alone = painter.edit(condition, "nurse", pictures, [2])
    among = painter.edit(condition, "nurse", pictures)
    assert len(alone) == 1
    assert np.abs(np.float64(alone[0]) - np.float64(among[2])).max() <= 1


def test_half_of_the_pictures_are_asked_for_each_gender_and_a_skin_for_the_own_one(
    painter: EditPainter,
) -> None:
    pictures = painter.starts(DRAWN, "doctor", 16)
    asked = painter.asked(BY_ADAPTERS, "doctor", pictures)
    assert sorted(one["gender"] for one in asked) == ["man"] * 8 + ["woman"] * 8
    kept = painter.asked(SKIN_KEPT, "doctor", pictures)
    assert sorted(one["skin"] for one in kept) == sorted(["light", "tan", "brown", "dark"] * 4)
    assert painter.asked(OFF, "doctor", pictures[:2]) == [{}, {}]
    assert painter.asked(GLASSES, "doctor", pictures[:1]) == [{"glasses": "with"}]


@pytest.mark.slow
def test_the_experiment_edits_judges_and_does_nothing_twice(recipe: Recipe, tmp_path: Path) -> None:
    size = EvaluationSize(num_images=2, concepts=("doctor",))
    report, console = tmp_path / "report", Console(record=True, width=400)
    found = edits(recipe, tmp_path, report, console, size)
    assert [f.condition for f in found.figures] == conditions(PAINTED) + conditions(DRAWN)
    assert Edits.model_validate_json((report / "edits.json").read_text()) == found
    assert Image.open(report / "edits.png").width > 500
    assert found.of(DRAWN, CODEC, 0).ssim > found.of(DRAWN, OFF, 1.0).ssim
    assert set(found.before) == {PAINTED, DRAWN}
    console.print(edits_table(found))
    assert "gender, by adapters" in console.export_text()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("edits/**/*.json")}
    assert edits(recipe, tmp_path, report, console, size) == found
    assert len(files) == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files
