"""The signs of other tools are known, and the gate reads the words around them."""

import pytest

from fairgen.gate import decide
from fairgen.gate.syntax import foreign_signs, without_signs
from tests.growth import grows_linearly
from tests.tiny import ATTRIBUTES


@pytest.mark.parametrize(
    ("prompt", "signs"),
    [
        ("(doctor:1.3) in a hall", ("(doctor:1.3)",)),
        ("((doctor)), [blurry], {{castle}}", ("((doctor))", "[blurry]", "{{castle}}")),
        ("a doctor <lora:film:0.8> BREAK a hall", ("<lora:film:0.8>", "BREAK")),
        ("a doctor AND a hall", ("AND",)),
        ("a {red|blue} coat, __season__", ("{red|blue}", "__season__")),
        ("[doctor:nurse:0.5], (coat)1.2, hall++", ("[doctor:nurse:0.5]", "(coat)1.2", "hall++")),
        ("a doctor --ar 16:9 --v 5", ("--ar 16:9", "--v 5")),
        ("a doctor::2 a hall::-1", ("::2", "::-1")),
    ],
)
def test_a_sign_of_another_tool_is_found(prompt: str, signs: tuple[str, ...]) -> None:
    assert foreign_signs(prompt) == signs


@pytest.mark.parametrize(
    "prompt",
    [
        "a doctor (in a coat) at 12:30, well-lit -- empty",
        "a photo of a <sks> dog",
        "A DOCTOR AND A NURSE ON A BREAK",
        "a C++ programmer with a snake_case mug",
    ],
)
def test_plain_english_holds_no_sign(prompt: str) -> None:
    assert foreign_signs(prompt) == ()
    assert without_signs(prompt) == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "(doctor:1.3), hall",
        "((doctor)) <lora:old_woman:0.8>",
        "[doctor], __season__",
        "a doctor BREAK a hall --style old",
        "a doctor in a {red|blue} coat",
    ],
)
def test_the_gate_reads_around_signs(prompt: str) -> None:
    decision = decide(prompt, ATTRIBUTES)
    assert (decision.person, decision.free) == ("doctor", ("gender", "skin", "age"))


@pytest.mark.parametrize(
    "prompt", ["(female:1.2) doctor", "{male|female} doctor", "[female] doctor"]
)
def test_a_weighed_word_names_what_it_says(prompt: str) -> None:
    assert decide(prompt, ATTRIBUTES).free == ("skin", "age")


@pytest.mark.parametrize("unit", ["(", "[", "{", "<lora:", "(a", "__a", "a:1", " --a", "::1", "a+"])
def test_many_signs_take_no_time(unit: str) -> None:
    assert grows_linearly(foreign_signs, unit)
    assert grows_linearly(without_signs, unit)
