"""The summary of scored prompts, and the tables and pictures that follow from it."""

import io
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from fairgen.judging import JudgeConfusion, JudgedLabels, PromptScore, proportion_interval
from pipelines.evaluation import (
    Evaluation,
    evaluation_table,
    hit_rate_table,
    judge_table,
    judges_table,
    sample_size,
    summarise,
    write_report,
)
from pipelines.evaluation.report import draw_bars
from pipelines.recipe.recipe import Recipe, load_recipe
from tests.pipelines.disk import small_disk

N = 4


def score(system: str, concept: str, women: int, asked: bool, glasses: int = 0) -> PromptScore:
    """Return a score with so many women first, half of the pictures old, asked for two women."""
    return PromptScore(
        system=system, concept=concept, num_images=N,
        asked={"gender": [0, 0, 1, 1] if asked else [], "age": [0, 1, 0, 1] if asked else [],
               "glasses": []},
        seen={"gender": [0] * women + [1] * (N - women), "age": [0, 1, 0, 1],
              "glasses": [1] * glasses + [0] * (N - glasses)},
        soft={"gender": [women / N, 1 - women / N], "age": [0.5, 0.5], "glasses": [1.0, 0.0]},
        recognised=[True, True, True, concept == "nurse"], clip_t=[0.25] * N, ssim=[0.5] * N,
        psnr=[20.0] * N, clip_i=[0.75] * N,
        spread={"gender-woman": 0.6, "gender-man": 0.3, "age-old": 0.4, "woman,young": 0.2}
        if asked else {"gender-woman": 0.2, "age-old": 0.8, "woman,young": 0.4},
    )  # fmt: skip


@pytest.fixture
def recipe(write_recipe: Callable[..., Path]) -> Recipe:
    return load_recipe(
        write_recipe(
            concepts={"train": ["nurse", "firefighter", "teacher"], "held_out": ["doctor"]},
            evaluation={"joints": [["gender", "age"]]},
        )
    )


@pytest.fixture
def evaluation(recipe: Recipe) -> Evaluation:
    scores = []
    for concept, women in (("doctor", 0), ("nurse", 4)):
        scores += [
            score("base", concept, women, asked=False),
            score("iid", concept, 1, asked=True),
            score("fairgen", concept, 2 if concept == "nurse" else 1, asked=True, glasses=2),
        ]
    return summarise(recipe, scores, {"car": True})


def test_fairness_is_the_mean_over_prompts_not_the_pooled_one(evaluation: Evaluation) -> None:
    base = evaluation.fairness["gender"]["base"]  # no woman of doctors, all of nurses: pooled fair
    assert base.fd == pytest.approx(2**0.5 / 2) and base.dev_rat == 1
    assert evaluation.fairness["gender"]["fairgen"].fd == pytest.approx(2**0.5 / 8)
    assert base.interval[0] <= base.fd <= base.interval[1]
    assert base.soft_fd == pytest.approx(base.fd) and base.parity_gap == 1
    assert base.kl == pytest.approx(math.log(2))
    assert set(evaluation.fairness) == {"gender", "age", "gender x age"}
    assert evaluation.fairness["age"]["base"].fd == 0


def test_hit_rates_tell_trained_from_held_out_concepts(evaluation: Evaluation) -> None:
    assert (evaluation.trained, evaluation.held_out) == (["nurse"], ["doctor"])
    assert evaluation.hit_rate("gender", "woman", "trained") == 1
    assert evaluation.hit_rate("gender", "woman", "held_out") == 0.5
    assert evaluation.hit_rate("gender", "woman", "all") == 0.75
    woman = evaluation.hits["all"]["gender"]["woman"]
    assert (woman.n, woman.seen.value) == (4, 0.75)
    assert woman.seen.interval == proportion_interval(3, 4)
    assert woman.corrected is not None  # the judge of drawings hardly ever errs
    assert woman.corrected.value == pytest.approx(0.75)


def test_the_target_is_kept_with_what_was_delivered(evaluation: Evaluation) -> None:
    assert evaluation.targets["gender"] == {"woman": 0.5, "man": 0.5}
    assert set(evaluation.targets) == set(evaluation.fairness)
    assert set(evaluation.targets["gender x age"]) == set(
        evaluation.fairness["gender x age"]["base"].prompts["nurse"].delivered
    )


def test_no_interval_over_different_prompts_has_no_width(evaluation: Evaluation) -> None:
    for systems in evaluation.fairness.values():
        for found in systems.values():
            assert found.interval[0] <= found.fd <= found.interval[1]
            assert found.interval[0] < found.interval[1]


def test_what_the_judge_mistakes_is_taken_off(recipe: Recipe, tmp_path: Path) -> None:
    """The judge takes a third of all women for men: of four women it sees three."""
    file = tmp_path / "confusion.json"
    rows = {"woman": {"woman": 200, "man": 100}, "man": {"man": 300}}
    file.write_text(json.dumps({"source": "300 labelled pictures", "counts": {"gender": rows}}))
    judge = recipe.judge.model_copy(update={"confusion": file})
    recipe = recipe.model_copy(update={"judge": judge})
    scores = [score(system, "nurse", 1, system != "base") for system in ("base", "fairgen")]
    found = summarise(recipe, scores, {})
    assert found.judge == "300 labelled pictures"
    gender = found.fairness["gender"]["fairgen"]
    assert gender.fd == pytest.approx(0.25 * 2**0.5)  # one of four is seen as a woman
    assert gender.corrected is not None
    assert gender.corrected.value == pytest.approx(0.125 * 2**0.5)  # it were one and a half
    assert found.fairness["age"]["fairgen"].corrected is None
    woman = found.hits["all"]["gender"]["woman"].corrected
    assert woman is not None and woman.value == pytest.approx(0.75)  # one of two is seen
    text = shown(evaluation_table(found)) + shown(hit_rate_table(found))
    assert "judge's errors taken off" in text and "0.177 [" in text and "0.750 [" in text


def shown(table: Table) -> str:
    """Return what a terminal would show."""
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_preservation_names_what_moved_though_nobody_asked(evaluation: Evaluation) -> None:
    assert evaluation.preservation["base"].drift == {"glasses": 0}
    assert evaluation.preservation["fairgen"].drift == {"glasses": pytest.approx(0.5 * 2**0.5)}
    assert evaluation.preservation["fairgen"].recognised == 7 / 8
    assert evaluation.preservation["base"].diversity == 1
    assert evaluation.preservation["fairgen"].diversity == pytest.approx((3 + 0.5) / 2)
    assert evaluation.preservation["fairgen"].cell_diversity == 0.5


def test_the_report_holds_figures_grid_and_bars(evaluation: Evaluation, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, format="PNG")
    shown = {
        concept: {system: [picture.getvalue()] * 2 for system in ("base", "iid", "fairgen")}
        for concept in ("doctor", "nurse")
    }
    write_report(evaluation, shown, tmp_path)
    content = json.loads((tmp_path / "evaluation.json").read_text())
    found = content["fairness"]["gender x age"]["iid"]
    assert {"fd", "interval", "floor", "n", "prompts"} <= set(found) and found["n"] == N
    assert Evaluation.model_validate(content) == evaluation
    assert content["targets"]["age"] == {"young": 0.5, "old": 0.5}
    with (
        Image.open(tmp_path / "grid-small.png") as small,
        Image.open(tmp_path / "grid.png") as grid,
    ):
        assert small.width < grid.width and small.width <= 720
    for name in ("grid.png", "bars.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width > 400 and len(image.convert("RGB").getcolors(1 << 24) or []) > 3


def test_a_table_says_of_how_many_pictures_it_is(evaluation: Evaluation) -> None:
    assert "N=4 pictures a prompt, 2 prompts" in shown(evaluation_table(evaluation))
    assert sample_size(1, 1) == "N=1 picture a prompt, 1 prompt"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
def test_a_full_disk_leaves_the_report_of_before(evaluation: Evaluation, tmp_path: Path) -> None:
    disk, long = tmp_path / "disk", {"judge": "a judge" * 10_000}
    with small_disk(disk, size_kib=64):
        before = disk / "evaluation.json"
        before.write_text(evaluation.model_dump_json())
        with pytest.raises(OSError, match=r"No space left on device: .*evaluation\.json"):
            write_report(evaluation.model_copy(update=long), {}, disk)
        assert Evaluation.model_validate_json(before.read_text()) == evaluation
        assert list(disk.iterdir()) == [before]


def test_every_category_has_a_colour_of_its_own(evaluation: Evaluation, tmp_path: Path) -> None:
    """Women, men, young and old: four areas of four colours, each as large as it was delivered."""
    draw_bars(evaluation, tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as image:
        counts = image.convert("RGB").getcolors(1 << 24) or []
    areas = [colour for count, colour in counts if count > 2000 and len(set(colour)) > 1]
    assert len(areas) == 4


def test_a_second_judge_measures_beside_the_first(recipe: Recipe) -> None:
    """It calls the last picture of a nurse a woman, and all else as the first judge does."""
    scores = []
    for system, asked in (("base", False), ("fairgen", True)):
        for concept in ("doctor", "nurse"):
            found = score(system, concept, 2, asked)
            women = [0, 0, 1, 0 if concept == "nurse" else 1]
            second = JudgedLabels(seen=found.seen | {"gender": women}, soft=found.soft)
            scores.append(found.model_copy(update={"second": second}))
    both = summarise(recipe, scores, {})
    assert both.fairness["gender"]["fairgen"].fd == 0
    assert both.second_fairness["gender"]["fairgen"].fd == pytest.approx(2**0.5 / 8)
    assert both.agreement["fairgen"]["age"].share == 1
    gender = both.agreement["fairgen"]["gender"]
    assert (gender.share, gender.n) == (7 / 8, 8) and gender.kappa == pytest.approx(0.75)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(judges_table(both))
    text = console.export_text()
    assert "0.875" in text and "kappa 0.75" in text and "FD gender x age" in text
    assert Evaluation.model_validate_json(both.model_dump_json()) == both
    once = [found.model_copy(update={"second": None}) for found in scores]
    assert summarise(recipe, once, {}).agreement == {}


def abstaining(system: str, concept: str, women: int, left_out: list[bool]) -> PromptScore:
    return score(system, concept, women, system == "fairgen").model_copy(
        update={"abstained": {"gender": left_out}}
    )


def test_pictures_in_which_the_judge_names_nobody_are_left_out_and_their_share_is_told(
    recipe: Recipe,
) -> None:
    """One of two women of a nurse shows no face, and no doctor does."""
    away = [True, False, False, False]
    scores = [
        abstaining(system, concept, 2, away if concept == "nurse" else [True] * 4)
        for system in ("base", "fairgen")
        for concept in ("doctor", "nurse")
    ]
    found = summarise(recipe, scores, {})
    gender, age = found.fairness["gender"]["fairgen"], found.fairness["age"]["fairgen"]
    assert gender.fd == pytest.approx((1 / 2 - 1 / 3) * 2**0.5)
    assert list(gender.prompts) == ["nurse"] and gender.prompts["nurse"].n == 3
    assert gender.abstained is not None and gender.abstained.n == 8
    assert gender.abstained.share.value == 5 / 8
    assert gender.abstained.share.interval == proportion_interval(5, 8)
    assert found.fairness["gender x age"]["base"].abstained == gender.abstained
    assert age.abstained is None and list(age.prompts) == ["doctor", "nurse"]
    woman = found.hits["all"]["gender"]["woman"]
    assert (woman.n, woman.seen.value) == (1, 1)
    text = shown(evaluation_table(found))
    assert text.count("judge abstained") == 2 and "0.625 [" in text and "] of 8" in text
    assert Evaluation.model_validate_json(found.model_dump_json()) == found
    before = summarise(recipe, [one.model_copy(update={"abstained": {}}) for one in scores], {})
    assert before.fairness["gender"]["fairgen"].abstained is None
    assert "abstained" not in shown(evaluation_table(before))
    nobody = [abstaining(s, c, 2, [True] * 4) for s in ("base", "fairgen") for c in ("doctor",)]
    with pytest.raises(ValueError, match="it abstained from gender in all pictures of 'base'"):
        summarise(recipe, nobody, {})


def test_the_table_of_a_judge_s_errors_counts_the_pictures_in_which_it_names_nobody() -> None:
    rows = {"woman": {"woman": 3, "man": 1}, "man": {"man": 4}}
    confusion = JudgeConfusion(
        source="11 labelled pictures",
        counts={"gender": rows},
        abstained={"gender": {"woman": 1, "man": 2}},
    )
    lines = [line.split("│")[1:-1] for line in shown(judge_table(confusion)).splitlines()]
    woman, man = ([cell.strip() for cell in line] for line in lines if len(line) == 5)
    assert woman[:2] == ["gender woman", "5"] and woman[2].startswith("0.750 [")
    assert woman[3:] == ["man 1", "1"] and (man[1], man[4]) == ("6", "2")
    plain = shown(judge_table(confusion.model_copy(update={"abstained": {}})))
    assert "abstained" not in plain and "gender woman" in plain


def test_judges_agree_about_the_pictures_in_which_both_name_a_category(
    write_recipe: Callable[..., Path],
) -> None:
    """Of an age, which the target does not ask, they never do so in the same picture of the base
    model.
    """
    path = write_recipe(
        concepts={"train": ["nurse", "firefighter", "teacher"], "held_out": ["doctor"]},
        evaluation={"target": {"gender": "uniform"}, "joints": []},
    )
    scores = []
    for system in ("base", "fairgen"):
        first = score(system, "nurse", 2, system == "fairgen")
        own, others = [True, True, False, False], [False, False, system == "base", True]
        second = JudgedLabels(seen=first.seen, soft=first.soft, abstained={"age": others})
        scores.append(first.model_copy(update={"abstained": {"age": own}, "second": second}))
    found = summarise(load_recipe(path), scores, {})
    assert "age" not in found.agreement["base"]
    assert (found.agreement["fairgen"]["age"].n, found.agreement["base"]["gender"].n) == (1, 4)
    (row,) = [line for line in shown(judges_table(found)).splitlines() if "same age" in line]
    assert [cell.strip()[:5] for cell in row.split("│")[2:4]] == ["-", "1.000"]


def test_the_tables_show_every_target_and_category(evaluation: Evaluation) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(evaluation_table(evaluation), hit_rate_table(evaluation))
    text = console.export_text()
    for expected in ("gender x age", "0.707", "floor", "drift glasses", "gender woman", "0.750"):
        assert expected in text
