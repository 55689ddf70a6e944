"""Replicas for a load: enough of them answer soon, too few do not, and every request ends."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.benchmarks.capacity import indicators_for, replicas_for, simulate
from pipelines.benchmarks.full_size import Painting
from pipelines.benchmarks.speed import RecipeSpeed, Speed
from pipelines.cli.app import app

STEPS, BESIDE_S = 10, 0.01


def painting(pictures: int, step_s: float) -> Painting:
    """Return figures that agree with each other: steps, and a little beside them."""
    whole_s = STEPS * step_s + BESIDE_S * pictures
    return Painting(
        pictures=pictures,
        step_s=step_s,
        images_per_s=pictures / whole_s,
        plain_images_per_s=pictures / whole_s,
        peak_gib=1.0,
    )


@pytest.fixture
def speed() -> RecipeSpeed:
    return RecipeSpeed(
        recipe="made-up", picture="64 x 64", steps=STEPS, guidance_scale=5.0, rounds=1,
        painting=[painting(1, 0.05), painting(8, 0.1)], learning=[],
    )  # fmt: skip


def test_replicas_have_a_fifth_to_spare() -> None:
    assert [replicas_for(rate, of_one=5.0) for rate in (1, 10, 1000)] == [1, 3, 240]
    assert [indicators_for(rate) for rate in (10, 1000, 3600)] == [1, 1, 2]


def test_a_request_that_finds_nobody_takes_its_own_steps(speed: RecipeSpeed) -> None:
    alone = simulate(speed, 0.01, replicas=50, per_request=1)
    assert [alone.p50_s, alone.p95_s] == pytest.approx([STEPS * 0.05 + BESIDE_S] * 2)
    four = simulate(speed, 0.01, replicas=50, per_request=4)
    assert four.p95_s == pytest.approx(STEPS * (0.05 + 0.05 * 3 / 7) + 4 * BESIDE_S)


def test_enough_replicas_keep_up_and_too_few_fall_behind(speed: RecipeSpeed) -> None:
    rate = 100.0
    enough = simulate(speed, rate, replicas_for(rate, speed.best.images_per_s))
    assert enough.p95_s < 4 * (STEPS * 0.1 + 8 * BESIDE_S)
    few = int(0.8 * rate / speed.best.images_per_s)
    longer = [simulate(speed, rate, few, seconds=seconds).p95_s for seconds in (60, 120)]
    assert longer[0] > 2 * enough.p95_s and longer[1] > 1.5 * longer[0]  # the queue only grows


def test_the_same_seed_is_the_same_load(speed: RecipeSpeed) -> None:
    one, same, other = (simulate(speed, 20, 3, seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_what_is_no_load_is_refused(speed: RecipeSpeed, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed are more than none"):
        simulate(speed, 0.0, 1)
    missing = tmp_path / "speed.json"
    answer = CliRunner().invoke(app, ["scaling", "10", "--measured", str(missing)])
    assert answer.exit_code == 2 and "`fairgen speed` on a GPU writes it" in answer.output
    missing.write_text("{}")
    answer = CliRunner().invoke(app, ["scaling", "10", "--measured", str(missing)])
    assert answer.exit_code == 2 and "does not hold" in answer.output


@pytest.mark.parametrize(
    "load", [("0",), ("nan",), ("inf",), ("1e9",), ("10", "1e5"), ("10", "--per-request", "100000")]
)
def test_a_load_that_no_simulation_ends_with_is_refused(
    load: tuple[str, ...], speed: RecipeSpeed, tmp_path: Path
) -> None:
    measured = tmp_path / "speed.json"
    measured.write_text(
        Speed(date="2026-12-01", device="none", torch="none", recipes=[speed]).model_dump_json()
    )
    answer = CliRunner().invoke(app, ["scaling", *load, "--measured", str(measured)])
    assert answer.exit_code == 2 and "at most 10,000 images/s" in answer.output
