"""Each region of a picture, and each word of a prompt, wears gates of its own."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from rich.console import Console
from torch import Tensor, nn

from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.judging import Estimate
from fairgen.portraits import build_tokenizer
from pipelines.experiments.groups.figures import figures
from pipelines.experiments.groups.groups import PLANS, GroupsSize, Plan, asked_of, groups
from pipelines.experiments.groups.painting import pair_prompt, word_masks
from pipelines.experiments.groups.regions import (
    attention_to_words,
    gated_by_region,
    gated_by_word,
    halves,
    region_masks,
    regions_of,
    split_self_attention,
)
from pipelines.experiments.groups.report import groups_table
from pipelines.experiments.groups.results import Condition, Groups, PairImage, Person
from pipelines.recipe import DEFAULT_RECIPE, load_recipe
from tests.fairgen.bank.test_bank import random_directions
from tests.families import tiny

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"  # the first that reads the prompt
HALVES = halves(8, 16)
LEFT_POSITIONS = torch.arange(128).view(8, 16)[:, :8].flatten()
RIGHT_POSITIONS = torch.arange(128).view(8, 16)[:, 8:].flatten()


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionPipeline:
    return tiny("SD 1.x")


def bank_of(pipe: StableDiffusionPipeline, projections: str) -> AdapterBank:
    backbone = load_backbone(pipe)
    bank = AdapterBank(backbone.denoiser, backbone.projections(projections))
    for seed, name in enumerate(("gender-woman", "gender-man")):
        bank.add(name, random_directions(bank, 1, seed))
    return bank


def denoise(pipe: StableDiffusionPipeline) -> tuple[Tensor, Tensor]:
    """Return the prediction, and what the first layer of cross-attention answers."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(3, 4, 8, 16, generator=generator)
    context = torch.randn(3, 16, 16, generator=generator)
    answers: list[Tensor] = []

    def keep(_: nn.Module, args: object, output: Tensor) -> None:
        answers.append(output.clone())

    handle = pipe.unet.get_submodule(LAYER).register_forward_hook(keep)
    try:
        with torch.no_grad():
            prediction = pipe.unet(x, torch.tensor([10, 600, 990]), context).sample
    finally:
        handle.remove()
    return prediction, answers[-1]


SAME = torch.tensor([[1.0, 0], [0, 1], [0, 0]])
MIXED = torch.tensor([[[1.0, 0], [0, 1]], [[0, 1], [0, 0]], [[0, 0], [0, 0]]])  # N x P x K


@pytest.mark.parametrize("projections", ["kv", "qkvo"])
def test_the_same_gates_in_all_regions_equal_gates_per_row(
    pipe: StableDiffusionPipeline, projections: str
) -> None:
    bank = bank_of(pipe, projections)
    with bank.gated(SAME):
        expected, _ = denoise(pipe)
    with gated_by_region(pipe.unet, bank, SAME[:, None].expand(3, 2, 2), HALVES):
        found, _ = denoise(pipe)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    bank.close()


@pytest.mark.parametrize("projections", ["kv", "qkvo"])
def test_each_half_of_a_layer_answers_as_if_the_whole_picture_wore_its_gates(
    pipe: StableDiffusionPipeline, projections: str
) -> None:
    bank = bank_of(pipe, projections)
    with gated_by_region(pipe.unet, bank, MIXED, HALVES):
        _, found = denoise(pipe)
    for region, positions in enumerate((LEFT_POSITIONS, RIGHT_POSITIONS)):
        with bank.gated(MIXED[:, region]):
            _, whole = denoise(pipe)
        torch.testing.assert_close(found[:, positions], whole[:, positions], atol=1e-6, rtol=1e-6)
    bank.close()


def test_a_region_without_gates_answers_as_the_bare_model(pipe: StableDiffusionPipeline) -> None:
    bank, left_only = bank_of(pipe, "kv"), MIXED * torch.tensor([1.0, 0])[:, None]
    _, bare = denoise(pipe)
    with gated_by_region(pipe.unet, bank, left_only, HALVES):
        _, found = denoise(pipe)
    torch.testing.assert_close(found[:, RIGHT_POSITIONS], bare[:, RIGHT_POSITIONS])
    assert (found[:2, LEFT_POSITIONS] - bare[:2, LEFT_POSITIONS]).abs().max() > 1e-3
    bank.close()


def test_words_that_all_wear_the_same_gates_equal_gates_per_row(
    pipe: StableDiffusionPipeline,
) -> None:
    bank = bank_of(pipe, "kv")
    first_words = (torch.arange(16) < 6).float()
    with bank.gated(SAME):
        expected, _ = denoise(pipe)
    masks = torch.stack([first_words, 1 - first_words])
    with gated_by_word(pipe.unet, bank, SAME[:, None].expand(3, 2, 2), masks):
        found, _ = denoise(pipe)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    bank.close()


def test_a_words_keys_wear_its_own_gates_and_other_tokens_none(
    pipe: StableDiffusionPipeline,
) -> None:
    bank, layer = bank_of(pipe, "kv"), pipe.unet.get_submodule(f"{LAYER}.to_k")
    text, masks = torch.randn(1, 16, 16), torch.zeros(2, 16)
    masks[0, 2:5] = masks[1, 7:9] = 1
    gates = torch.tensor([[[1.0, 0], [0, 1]]])
    keys = {}
    for name, gate in (("woman", gates[:, 0]), ("man", gates[:, 1])):
        with bank.gated(bank.active_directions(gate, [f"{LAYER}.to_k"])):
            keys[name] = layer(text)
    expected = layer(text)
    expected[:, 2:5], expected[:, 7:9] = keys["woman"][:, 2:5], keys["man"][:, 7:9]
    found: list[Tensor] = []
    with torch.no_grad(), gated_by_word(pipe.unet, bank, gates, masks):
        handle = layer.register_forward_hook(lambda *call: found.append(call[2].clone()))
        pipe.unet(torch.randn(1, 4, 8, 16), 10, text)
        handle.remove()
    torch.testing.assert_close(found[-1], expected, atol=1e-6, rtol=1e-6)
    bank.close()


def test_gates_of_words_need_directions_of_keys_and_values(pipe: StableDiffusionPipeline) -> None:
    bank = bank_of(pipe, "qkvo")
    with (
        pytest.raises(ValueError, match=r"projections: got '.*to_(q|out.0)', allowed are keys"),
        gated_by_word(pipe.unet, bank, MIXED, torch.zeros(2, 16)),
    ):
        pass
    bank.close()


def test_masks_of_regions_add_up_to_one_at_every_level() -> None:
    for ramp in (0.0, 4.0):
        masks = halves(8, 16, ramp)
        for count in (128, 32):
            level = region_masks(masks, count)
            torch.testing.assert_close(level.sum(1), torch.ones(1, count))
            assert level[0, 0].view(-1, round((count * 2) ** 0.5))[:, 0].min() == 1
    with pytest.raises(ValueError, match="masks: got 8 x 16, allowed is a shape with levels of 40"):
        region_masks(HALVES, 40)


def test_each_row_may_have_regions_of_its_own(pipe: StableDiffusionPipeline) -> None:
    bank = bank_of(pipe, "kv")
    gates, swapped = MIXED[:1].expand(3, 2, 2), HALVES.flip(1)
    with gated_by_region(pipe.unet, bank, gates, torch.cat([HALVES, swapped, HALVES])):
        _, found = denoise(pipe)
    for row, masks in enumerate((HALVES, swapped, HALVES)):
        with gated_by_region(pipe.unet, bank, gates, masks):
            _, expected = denoise(pipe)
        torch.testing.assert_close(found[row], expected[row])
    bank.close()


def test_a_position_belongs_to_the_person_at_whose_words_it_looks_most(
    pipe: StableDiffusionPipeline,
) -> None:
    words = torch.zeros(2, 16)
    words[0, :8] = words[1, 8:] = 1
    with attention_to_words(pipe.unet, words, 8, 16) as maps:
        denoise(pipe)
    assert len(maps) > 1
    for attention in maps:
        assert attention.shape == (3, 2, 8, 16)
        torch.testing.assert_close(attention.sum(1), torch.ones(3, 8, 16))
    torch.testing.assert_close(
        regions_of(0.2 + HALVES * torch.tensor([1.0, 3])[:, None, None]), HALVES
    )


def test_with_split_self_attention_a_half_of_a_layer_sees_itself_only(
    pipe: StableDiffusionPipeline,
) -> None:
    layer = pipe.unet.get_submodule(LAYER.replace("attn2", "attn1"))
    width = layer.to_q.in_features
    x, other = torch.randn(2, 128, width), torch.randn(2, 128, width)
    other[:, LEFT_POSITIONS] = x[:, LEFT_POSITIONS]
    with torch.no_grad(), split_self_attention(pipe.unet, 8, 16):
        one, two = layer(x), layer(other)
    torch.testing.assert_close(one[:, LEFT_POSITIONS], two[:, LEFT_POSITIONS])
    assert (one - two)[:, RIGHT_POSITIONS].abs().max() > 1e-3


def test_the_words_of_each_person_are_its_article_and_its_noun() -> None:
    for concepts in (("doctor", "nurse"), ("police officer", "astronaut")):
        tokens = build_tokenizer()(pair_prompt(concepts)).input_ids
        words = build_tokenizer().convert_ids_to_tokens(tokens)
        for person, mask in enumerate(word_masks(concepts)):
            found = [words[index] for index in mask.nonzero().flatten().tolist()]
            assert " ".join(found[1:]) == concepts[person] and found[0] in ("a", "an")
    assert pair_prompt(("doctor", "nurse"), ("female", "")) == (
        "a photo of a female doctor and a nurse"
    )


def person(asked: str, gender: str, concept: str = "doctor", skin: str = "tan") -> Person:
    return Person(
        concept="doctor", asked=asked, seen={"gender": gender, "skin": skin, "concept": concept}
    )


def test_figures_count_hits_by_person_and_leaks_by_the_neighbours_gate() -> None:
    pictures = [
        PairImage(seed=0, people=(person("woman", "woman"), person("woman", "man"))),
        PairImage(seed=0, people=(person("woman", "man"), person("man", "man", "chef"))),
        PairImage(seed=0, people=(person("", "man", skin="dark"), person("man", "man"))),
    ]
    bare = PairImage(seed=0, people=(person("", "man"), person("", "man")))
    base = Condition(method="base", attribute="gender", adapters_of="pairs", pictures=[bare])
    condition = base.model_copy(update={"method": "region", "pictures": pictures})
    found = figures(condition, base)
    assert found.hits["left"].value == 1 / 2 and found.hits["right"].value == 1 / 2
    assert found.hits["woman"].value == 1 / 3 and found.hits["man"].value == 1
    left, right = found.combinations["woman / woman"]
    assert (left.value, right.value) == (1, 0)
    assert found.recognised.value == 5 / 6
    assert found.leak is not None and found.leak_any is not None and found.leak_ungated is not None
    assert found.leak.value == 1  # the woman on the left is a man beside a man
    assert found.leak_ungated.value == 1  # somebody's skin is another than the base's
    assert not found.reached
    good = Estimate(value=0.95, interval=(0.9, 1))
    few = Estimate(value=0.01, interval=(0, 0.03))
    hits = {"left": good, "right": good}
    better = found.model_copy(update={"hits": hits, "recognised": good, "leak": few})
    assert better.reached
    assert not better.model_copy(update={"leak": good}).reached
    none = figures(base, base)
    assert none.hits == {} and none.leak is None and none.leak_ungated is None


def test_a_plan_asks_for_every_choice_of_two_categories() -> None:
    names = ("woman", "man")
    assert asked_of(Plan("base"), names) == [("", "")]
    assert asked_of(Plan("whole"), names) == [("woman", "woman"), ("man", "man")]
    assert len(asked_of(Plan("region"), names)) == 4
    one_sided = asked_of(Plan("region", ungated=True), names)[4:]
    assert one_sided == [("", "woman"), ("woman", ""), ("", "man"), ("man", "")]


@pytest.mark.slow
@pytest.mark.full  # of an experiment that is a no go
def test_the_experiment_trains_paints_and_judges_and_does_nothing_twice(tmp_path: Path) -> None:
    recipe = load_recipe(DEFAULT_RECIPE)
    recipe = recipe.model_copy(
        update={
            "discovery": recipe.discovery.model_copy(update={"num_updates": 1, "num_rows": 2}),
            "overrides": {},
            "generation": recipe.generation.model_copy(update={"steps": 1}),
        }
    )
    size = GroupsSize(num_updates=2, num_images=1, num_prompts=1, population=4)
    report, console = tmp_path / "report", Console(record=True, width=400)
    found = groups(recipe, tmp_path, report, console, size)
    assert [(f.method, f.attribute) for f in found.figures] == [
        (plan.method, plan.attribute) for plan in PLANS
    ]
    assert Groups.model_validate_json((report / "groups.json").read_text()) == found
    assert Image.open(report / "groups.png").width > 500
    console.print(groups_table(found))
    assert "gates at each half of the picture" in console.export_text()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.glob("groups/**/*.json")}
    again = groups(recipe, tmp_path, report, console, size)
    assert again.figures == found.figures
    assert {path: path.stat().st_mtime_ns for path in files} == files
    more = groups(recipe, tmp_path, report, console, size.model_copy(update={"num_images": 2}))
    assert [f.num_pictures for f in more.figures] == [2 * f.num_pictures for f in found.figures]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sd15", {}, "base: got 'stable-diffusion-v1-5/stable-diffusion-v1-5', allowed is the emb"),
        ("portraits", {"attributes": ()}, "attribute: got 'gender', allowed are"),
    ],
)
def test_a_recipe_of_another_world_is_refused_before_anything_is_trained(
    name: str, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    recipe = load_recipe(name).model_copy(update=changes)
    with pytest.raises(ValueError, match=message):
        groups(recipe, tmp_path, tmp_path / "report", Console(), GroupsSize())
    assert not list(tmp_path.iterdir())
