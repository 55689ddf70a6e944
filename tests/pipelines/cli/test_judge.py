"""`fairgen judge`: what a judge mistakes is measured, written down, and taken off the figures."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairgen.portraits import draw_all
from pipelines.cli.app import app
from pipelines.recipe import load_judge_confusion, load_recipe


def test_a_judge_is_measured_and_a_recipe_that_names_the_file_is_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two women are labelled as men, as if the judge had taken them for women."""
    drawn = {"woman": ["woman"] * 6, "man": ["man"] * 4 + ["woman"] * 2}
    for label, genders in drawn.items():
        (folder := tmp_path / "labelled" / "gender" / label).mkdir(parents=True)
        pictures = draw_all("doctor", [{"gender": one} for one in genders], random.Random(0))
        for number, picture in enumerate(pictures):
            picture.save(folder / f"{number}.png")
    out = tmp_path / "report" / "confusion.json"
    done = CliRunner().invoke(app, ["judge", str(tmp_path / "labelled"), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "woman 2" in done.stdout and "0.667" in done.stdout
    counts = json.loads(out.read_text())["counts"]
    assert counts == {"gender": {"woman": {"woman": 6}, "man": {"man": 4, "woman": 2}}}

    recipe = load_recipe(Path("portraits"))
    judge = recipe.judge.model_copy(update={"confusion": out})
    found = load_judge_confusion(recipe.model_copy(update={"judge": judge}))
    assert found is not None and found.counts == counts
    monkeypatch.chdir(out.parent)  # as the command says it: by a path from here
    judge = recipe.judge.model_copy(update={"confusion": Path(out.name)})
    found = load_judge_confusion(recipe.model_copy(update={"judge": judge}))
    assert found is not None and found.counts == counts
    refused = CliRunner().invoke(app, ["judge", str(tmp_path), "-o", str(out)])
    assert refused.exit_code == 2 and "labelled: got ['labelled', 'report']" in refused.stderr


def test_what_a_judge_cannot_read_or_write_is_refused_in_a_sentence(tmp_path: Path) -> None:
    for category in ("woman", "man"):
        (folder := tmp_path / "labelled" / "gender" / category).mkdir(parents=True)
        (picture,) = draw_all("doctor", [{"gender": category}], random.Random(0))
        picture.resize((96, 80)).save(folder / "0.png")
    asked = ["judge", str(tmp_path / "labelled"), "-o"]
    refused = CliRunner().invoke(app, [*asked, str(tmp_path / "out.json")])
    assert refused.exit_code == 2
    assert "images: got one of 96x80 pixels, allowed are 64x64" in refused.stderr
    refused = CliRunner().invoke(app, [*asked, str(tmp_path)])
    assert refused.exit_code == 2 and "allowed is a file that can be written to" in refused.stderr
    refused = CliRunner().invoke(app, [*asked, str(folder / "0.png" / "new" / "out.json")])
    assert refused.exit_code == 2 and "0.png is a file" in refused.stderr
