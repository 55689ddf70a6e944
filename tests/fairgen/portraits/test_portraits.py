"""The drawn world keeps its planted population, and every portrait is drawn with every category."""

import json
import random
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from fairgen.base_model import fingerprint
from fairgen.portraits import MODEL
from fairgen.portraits.clip import build_tokenizer
from fairgen.portraits.drawing import SIZE_PX, draw
from fairgen.portraits.report import accuracy, judge_counts, redrawn_similarity
from fairgen.portraits.sibling import fine_tune
from fairgen.portraits.world import (
    AGES,
    ATTRIBUTES,
    CONCEPTS,
    GENDERS,
    GLASSES,
    MIRRORED,
    OCCUPATIONS,
    POPULATION,
    SKINS,
    Portrait,
    caption,
    choose_named,
    named_evenly,
    sample_portrait,
)

DOCS = Path(__file__).parents[3] / "docs" / "portraits"


def test_the_world_has_24_occupations_whose_tables_are_distributions() -> None:
    assert len(OCCUPATIONS) == 24
    for stereotype in POPULATION.values():
        for attribute in ATTRIBUTES:
            assert sum(stereotype.probabilities(attribute).values()) == pytest.approx(1)


def test_an_unknown_attribute_names_the_allowed() -> None:
    with pytest.raises(ValueError, match="got 'height', allowed are gender"):
        POPULATION["doctor"].probabilities("height")


def test_every_person_can_be_drawn_in_every_occupation() -> None:
    rng = random.Random(0)
    for concept, gender, skin, age, glasses in product(
        CONCEPTS[:25], GENDERS, SKINS, AGES, GLASSES
    ):
        picture = np.asarray(draw(Portrait(concept, gender, skin, age, glasses), rng))
        assert picture.shape == (SIZE_PX, SIZE_PX, 3) and picture.std() > 20


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_each_attribute_changes_the_picture(attribute: str) -> None:
    first = {name: values[0] for name, values in ATTRIBUTES.items()}
    other = {**first, attribute: ATTRIBUTES[attribute][-1]}
    one, two = (
        np.asarray(draw(Portrait("doctor", **categories), random.Random(3)), float)
        for categories in (first, other)
    )
    assert np.abs(one - two).mean() > 0.5


def test_sampled_doctors_follow_the_planted_table() -> None:
    rng = random.Random(0)
    doctors = [sample_portrait(rng, "doctor") for _ in range(4000)]
    share = sum(doctor.gender == "woman" for doctor in doctors) / len(doctors)
    assert share == pytest.approx(POPULATION["doctor"].woman, abs=0.02)


def test_in_the_mirrored_world_stereotypes_point_the_other_way() -> None:
    rng = random.Random(0)
    doctors = [sample_portrait(rng, "doctor", MIRRORED) for _ in range(4000)]
    for attribute, category, stereotype in (("gender", "man", 0.10), ("skin", "dark", 0.85)):
        share = sum(getattr(doctor, attribute) == category for doctor in doctors) / len(doctors)
        assert share == pytest.approx(stereotype, abs=0.02)


def test_a_sibling_has_the_structure_of_the_base_and_weights_of_its_own(tmp_path: Path) -> None:
    fine_tune(MODEL, tmp_path / "sibling", num_steps=2, batch_size=4, population=20)
    assert not list((tmp_path / "sibling").glob("*.ckpt"))
    one, other = (
        fingerprint(StableDiffusionPipeline.from_pretrained(path).unet)
        for path in (MODEL, tmp_path / "sibling")
    )
    assert one != other and one.partition("-")[0] == other.partition("-")[0]


def test_captions_name_each_attribute_in_about_a_third_of_the_pictures() -> None:
    rng = random.Random(0)
    captions = [caption(sample_portrait(rng, "nurse"), choose_named(rng), rng) for _ in range(3000)]
    named = sum("male" in text.replace("female", "male").split() for text in captions) / len(
        captions
    )
    assert named == pytest.approx(1 / 3, abs=0.03)


def test_only_named_attributes_are_drawn_evenly() -> None:
    rng, named = random.Random(0), frozenset({"skin"})
    doctors = [named_evenly(sample_portrait(rng, "doctor"), named, rng) for _ in range(4000)]
    dark = sum(doctor.skin == "dark" for doctor in doctors) / len(doctors)
    women = sum(doctor.gender == "woman" for doctor in doctors) / len(doctors)
    assert dark == pytest.approx(1 / 4, abs=0.03)
    assert women == pytest.approx(POPULATION["doctor"].woman, abs=0.02)
    assert all("skinned" in caption(doctor, named, rng) for doctor in doctors[:100])
    assert named_evenly(Portrait("car"), named, rng) == Portrait("car")


def test_glasses_can_be_named_more_rarely_than_all_else() -> None:
    rng = random.Random(0)
    named = [choose_named(rng, 2 / 3, glasses=1 / 8) for _ in range(4000)]
    shares = {name: sum(name in names for names in named) / 4000 for name in ATTRIBUTES}
    assert shares.pop("glasses") == pytest.approx(1 / 8, abs=0.02)
    assert list(shares.values()) == pytest.approx([2 / 3] * 3, abs=0.03)


def test_the_tokenizer_knows_every_caption() -> None:
    rng, tokenizer = random.Random(0), build_tokenizer()
    captions = {caption(sample_portrait(rng), choose_named(rng), rng) for _ in range(2000)}
    assert all(tokenizer.unk_token_id not in tokenizer(text).input_ids for text in captions)
    assert tokenizer.unk_token_id in tokenizer("a photo of a dragon").input_ids


def test_the_judge_names_fresh_drawings_as_they_were_drawn() -> None:
    counts = judge_counts(count=120, seed=5)
    assert {name: accuracy(table) for name, table in counts.items()} == dict.fromkeys(counts, 1.0)
    assert set(counts) == {"gender", "skin", "age", "glasses", "concept"}
    assert all(len(table) > 1 for table in counts.values())


def test_what_a_redrawing_keeps_is_what_the_report_says() -> None:
    report = json.loads((DOCS / "portraits.json").read_text())
    assert redrawn_similarity() == pytest.approx(report["summary"]["redrawn_ssim"], abs=1e-4)
    assert 0.7 < report["summary"]["redrawn_ssim"] < 0.9
