"""Pairs are two people of the drawn world, each from its own table, the first one named left."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline

from fairgen.base_model import fingerprint
from fairgen.portraits import MODEL, train_pair_base
from fairgen.portraits.clip import MAX_TOKENS, build_tokenizer
from fairgen.portraits.drawing import draw_side_by_side
from fairgen.portraits.pairs import Pair, pair_caption, sample_pair
from fairgen.portraits.world import POPULATION, Portrait

DOCTOR = Portrait("doctor", "man", "light", "old", "without")
NURSE = Portrait("nurse", "woman", "tan", "young", "without")


def test_a_pair_is_drawn_side_by_side_before_one_wall() -> None:
    picture = np.asarray(draw_side_by_side((DOCTOR, NURSE), random.Random(0)))
    assert picture.shape == (64, 128, 3)
    assert (picture[0, 0] == picture[0, -1]).all()
    other = replace(NURSE, skin="dark")
    changed = np.asarray(draw_side_by_side((DOCTOR, other), random.Random(0)))
    differs = (picture != changed).any(axis=(0, 2))
    assert differs[64:].any() and not differs[:64].any()


def test_each_of_a_pair_follows_the_table_of_its_own_occupation() -> None:
    rng = random.Random(0)
    people = [person for _ in range(6000) for person in sample_pair(rng).people]
    for name in ("doctor", "nurse"):
        women = [person.gender == "woman" for person in people if person.concept == name]
        assert np.mean(women) == pytest.approx(POPULATION[name].woman, abs=0.06)


def test_one_pair_of_five_shares_an_occupation_and_more_by_chance() -> None:
    rng = random.Random(0)
    pairs = [sample_pair(rng).people for _ in range(4000)]
    same = np.mean([left.concept == right.concept for left, right in pairs])
    assert same == pytest.approx(0.2 + 0.8 / 25, abs=0.03)


def test_a_caption_names_the_left_one_first_and_two_of_a_kind_one_by_one() -> None:
    rng = random.Random(0)
    texts = {pair_caption(Pair((DOCTOR, NURSE)), rng) for _ in range(50)}
    assert "a photo of a doctor and a nurse" in texts and "a doctor and a nurse" in texts
    assert pair_caption(Pair((DOCTOR, DOCTOR)), rng).endswith("a doctor and a doctor")
    named = Pair((DOCTOR, NURSE), (frozenset({"age", "glasses"}), frozenset({"skin"})))
    text = pair_caption(named, rng)
    assert text.endswith("an old doctor without glasses and a tan-skinned nurse")


def test_what_a_caption_names_is_drawn_evenly() -> None:
    rng = random.Random(0)
    pairs = [sample_pair(rng, 0.4) for _ in range(6000)]
    named = [
        person.gender == "woman"
        for pair in pairs
        for person, names in zip(pair.people, pair.named, strict=True)
        if "gender" in names and person.concept != "person"
    ]
    assert len(named) > 2000 and np.mean(named) == pytest.approx(0.5, abs=0.04)


def test_the_text_tower_reads_every_caption_of_a_pair_to_its_end() -> None:
    rng, tokenizer = random.Random(0), build_tokenizer()
    for _ in range(2000):
        tokens = tokenizer(pair_caption(sample_pair(rng, 0.4), rng)).input_ids
        assert len(tokens) <= MAX_TOKENS and tokenizer.unk_token_id not in tokens


def test_the_base_of_pairs_is_the_embedded_model_with_weights_of_its_own(tmp_path: Path) -> None:
    train_pair_base(MODEL, tmp_path / "pairs", num_steps=3, batch_size=2, population=6)
    assert {p.suffix for p in (tmp_path / "pairs").iterdir() if p.is_file()} == {".json"}
    one, other = (
        fingerprint(StableDiffusionPipeline.from_pretrained(path).unet)
        for path in (MODEL, tmp_path / "pairs")
    )
    assert one != other and one.partition("-")[0] == other.partition("-")[0]
