"""The gate tells a prompt's language, most of the time, and English nearly always.

`short-prompts.tsv` holds ten short prompts in each of 18 languages of the Latin script, some in ten
other languages, and English ones of terms and names that come from elsewhere.
"""

import subprocess
import sys
from pathlib import Path

from fairgen.attributes import Attribute
from fairgen.gate import decide
from fairgen.gate.identification import READ, language_name
from pipelines.recipe.recipe import load_recipe

ROOT = Path(__file__).parents[3]
ATTRIBUTES = load_recipe(ROOT / "pipelines" / "recipes" / "portraits.yaml").attributes
ROWS = [
    tuple(line.split("\t"))
    for line in Path(__file__).with_name("short-prompts.tsv").read_text("utf-8").splitlines()[1:]
]
ALIKE = {"nb": "no"}  # the two names of one language


def languages(attributes: tuple[Attribute, ...]) -> list[tuple[str, str, str]]:
    """Return a prompt's language, the one that the gate tells, and the prompt."""
    return [(ALIKE.get(code, code), decide(text, attributes).language, text) for code, text in ROWS]


def test_english_prompts_with_words_from_elsewhere_are_english() -> None:
    found = [row for row in languages(ATTRIBUTES) if row[0] == "en"]
    assert len(found) >= 90
    wrong = [text for _, identified, text in found if identified != "en"]
    assert len(wrong) <= 2, wrong
    assert not any(decide(text, ATTRIBUTES).person for text in wrong)


def test_short_prompts_of_the_languages_that_are_read_are_told_apart() -> None:
    found = [row for row in languages(ATTRIBUTES) if row[0] in READ[1:]]
    wrong = [row for row in found if row[0] != row[1]]
    assert len(wrong) <= 2, wrong


def test_most_short_prompts_of_other_languages_are_left_alone_and_few_are_acted_on() -> None:
    others = [row for row in languages(ATTRIBUTES) if row[0] not in READ]
    left_alone = [row for row in others if row[1] not in READ]
    assert len(others) >= 150
    assert len(left_alone) >= 0.8 * len(others)
    acted = [text for _, _, text in others if decide(text, ATTRIBUTES).free]
    assert len(acted) <= 0.03 * len(others), acted


def test_a_language_has_an_english_name() -> None:
    assert (language_name("nl"), language_name("yue")) == ("Dutch", "Cantonese")
    assert language_name("xx") == "xx"


def test_english_loads_neither_torch_nor_the_library() -> None:
    program = (
        "import sys; from fairgen.gate import decide; decide('a doctor in a hospital', ());"
        "print([name for name in ('torch', 'py3langid') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"
