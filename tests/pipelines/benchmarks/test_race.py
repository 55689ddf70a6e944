"""A race of this build against a commit of its own."""

import json
import subprocess
from pathlib import Path

import pytest

from pipelines.benchmarks import RaceSize, race, race_table, write_race
from pipelines.benchmarks.race import Ratio

ROOT = Path(__file__).parents[3]
IS_CLONE = not subprocess.run(
    ["git", "-C", str(ROOT), "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True
).returncode
FIGURES = ("engine_images_per_s", "engine_images_per_s_of_8", "lone_picture_s", "updates_per_s")


def worktrees() -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), "worktree", "list"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
@pytest.mark.skipif(not IS_CLONE, reason="needs a clone of the project")
def test_a_build_against_itself_is_about_as_fast(tmp_path: Path) -> None:
    before = worktrees()
    found = race("HEAD", RaceSize(rounds=1, many=2, few=1, train_rounds=0))
    assert worktrees() == before
    assert len(found["commit"]) == 40
    for name in FIGURES:
        assert 0.1 < found[name]["median"] < 10  # a busy machine is no bug

    out = tmp_path / "bench.json"
    out.write_text('{"bank_overhead": 1.0}')
    write_race(found, out)
    written = json.loads(out.read_text())
    assert written["bank_overhead"] == 1.0
    assert written["against"]["commit"] == found["commit"]
    assert race_table(found).row_count == len(FIGURES)


@pytest.mark.skipif(not IS_CLONE, reason="needs a clone of the project")
@pytest.mark.parametrize("revision", ["no-such-commit", "--help", ""])
def test_a_commit_that_is_not_there_is_refused(revision: str) -> None:
    with pytest.raises(ValueError, match="against: got"):
        race(revision, RaceSize(rounds=1, train_rounds=0))


def test_a_ratio_is_the_median_between_its_quartiles() -> None:
    assert Ratio.of([0.5]) == Ratio(0.5, 0.5, 0.5, 1)
    assert Ratio.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Ratio(3.0, 2.0, 4.0, 5)
