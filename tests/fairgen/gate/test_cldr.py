"""The gate agrees with the names that Unicode CLDR has for a woman, a man and anybody at work.

`cldr-people.tsv` is written by `extract_cldr.py`; its licence lies beside it.
"""

from pathlib import Path

import pytest

from fairgen.attributes import Attribute
from fairgen.gate.languages import CHARACTERS, LATIN
from fairgen.gate.multilingual import categories_said
from fairgen.gate.scenes import read_scene
from pipelines.recipe.recipe import load_recipe

RECIPE = Path(__file__).parents[3] / "pipelines" / "recipes" / "portraits.yaml"
GENDER, SKIN, _ = load_recipe(RECIPE).attributes
NAMES = Path(__file__).with_name("cldr-people.tsv").read_text(encoding="utf-8").splitlines()[1:]
# What CLDR says otherwise: it calls a Brazilian teacher of any gender a woman, a mechanic like her
# trade, a farmer in Chinese a man, and some men like anybody; the gate knows no Chinese villain.
ELSE = (
    ("pt", "anybody", "professora na escola"), ("pt", "woman", "mecânica"),
    ("pt", "man", "estudante"), ("pt", "man", "artista plástico"), ("de", "man", "IT-Experte"),
    ("zh", "man", "农夫"),
)  # fmt: skip
UNKNOWN = "超级大坏蛋"


def strict_gender() -> Attribute:
    """Return the recipe's gender, with the masculine form named as a man's."""
    gender = GENDER.model_dump()
    gender["categories"][1]["mentions"] += ("masculine form",)
    return Attribute.model_validate(gender)


@pytest.mark.parametrize("code", [*LATIN, *CHARACTERS])
def test_names_of_people_at_work_say_what_is_drawn(code: str) -> None:
    strict, num_read = strict_gender(), 0
    for language, drawn, _, name in (line.split("\t") for line in NAMES):
        if language != code or (code, drawn, name) in ELSE or UNKNOWN in name:
            continue
        scene = read_scene(name, code)
        num_read += 1
        assert scene.reason == "", name
        genders = set(categories_said(scene, GENDER))
        match drawn:
            case "woman":
                assert genders == {"woman"}, name
            case "man":
                assert "woman" not in genders, name
                assert set(categories_said(scene, strict)) == {"man"}, name
            case "anybody":
                assert genders == set(), name
            case _:
                assert drawn in categories_said(scene, SKIN), name
    assert num_read >= 100
