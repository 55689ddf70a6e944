"""Rivals against cases worked out by hand, plain diffusers, and the rows that they declare."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image
from torch import Tensor

from fairgen.adapters import save_adapter
from fairgen.backbones import Backbone, load_backbone
from fairgen.baselines import fair_diffusion, uce
from fairgen.baselines.as_lora import AsLora
from fairgen.baselines.concept_sliders import ConceptSliders
from fairgen.baselines.fair_diffusion import FairDiffusion, edit_signs, strongest
from fairgen.baselines.gated import Gated, named_directions, named_tensors
from fairgen.baselines.h_space import HSpace, shifted
from fairgen.baselines.official import Official
from fairgen.baselines.partial_denoising import Example, learn
from fairgen.baselines.system import Ask, BaselineTask, System, sample_latents
from fairgen.baselines.uce import Uce, closed_form
from fairgen.baselines.unmodified import Unmodified
from fairgen.baselines.words import Words
from fairgen.judging import Perception
from fairgen.pipeline import FairGenPipeline
from fairgen.sampling import Sampling
from tests.fairgen.test_adapters import make_adapter
from tests.tiny import AGE, GENDER, SKIN, tiny_pipeline

pytestmark = pytest.mark.slow
SAMPLING = Sampling(num_steps=3, guidance_scale=3.0)
TEMPLATE = "a photo of {subject}"
RIVALS = (Unmodified, Words, FairDiffusion, Uce, ConceptSliders, HSpace, Official)


class BrightnessJudge:
    """Sees a woman and somebody old in a bright picture."""

    heads: ClassVar = {"gender": ("woman", "man"), "age": ("old", "young"), "concept": ("doctor",)}

    def read(self, images: Sequence[Image.Image]) -> Perception:
        light = torch.tensor([np.asarray(image, float).mean() / 255 for image in images]).float()
        both, ones = torch.stack([light, 1 - light], 1), torch.ones(len(images), 1)
        return Perception({"gender": both, "age": both, "concept": ones}, ones)

    def text_feature(self, text: str) -> Tensor:
        return torch.ones(1)


def lesson(max_rows: int = 600) -> BaselineTask:
    return BaselineTask(
        attributes=(GENDER, AGE),
        concepts=("doctor", "nurse", "artist"),
        templates=(TEMPLATE, "a portrait of {subject}"),
        preserve=("", "a photo of a car"),
        sampling=SAMPLING,
        judge=BrightnessJudge(),
        max_rows=max_rows,
    )


def ask(*categories: dict[str, str], concept: str = "doctor") -> Ask:
    return Ask(TEMPLATE, concept, list(range(len(categories))), categories)


WOMAN, MAN = {"gender": "woman", "age": "old"}, {"gender": "man", "age": "young"}


def assert_same(images: Sequence[Image.Image], others: Sequence[Image.Image]) -> None:
    """One grey level: a batch rounds otherwise than a row."""
    for one, other in zip(images, others, strict=True):
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1


def differ(images: Sequence[Image.Image], others: Sequence[Image.Image]) -> bool:
    return any(a.tobytes() != b.tobytes() for a, b in zip(images, others, strict=True))


def plain_pictures(prompts: Sequence[str], guidance_scale: float = 3.0) -> list[Image.Image]:
    return (
        tiny_pipeline()(
            list(prompts),
            num_inference_steps=3,
            guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        )
    ).images


@contextmanager
def counted(backbone: Backbone) -> Iterator[list[int]]:
    """Count rows through the denoiser, forward by forward."""
    rows: list[int] = []
    handle = backbone.denoiser.register_forward_pre_hook(
        lambda _, inputs: rows.append(inputs[0].shape[0])
    )
    try:
        yield rows
    finally:
        handle.remove()


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_the_unmodified_model_is_plain_diffusers(guidance_scale: float) -> None:
    system = Unmodified(load_backbone(tiny_pipeline()), lesson(), {}, 1.0)
    found = system.paint(ask({}, {}), Sampling(3, guidance_scale))
    assert_same(found, plain_pictures(["a photo of a doctor"] * 2, guidance_scale))


def test_words_are_what_a_user_would_have_written() -> None:
    system = Words(load_backbone(tiny_pipeline()), lesson(), {}, 1.0)
    found = system.paint(ask(WOMAN, MAN), SAMPLING)
    expected = ["a photo of an old female doctor", "a photo of a young male doctor"]
    assert_same(found, plain_pictures(expected))


def test_gated_adapters_are_fairgens_own_pictures() -> None:
    pipe = tiny_pipeline()
    woman = make_adapter(pipe)
    man = make_adapter(pipe, category="man", word="male")
    flipped = type(man)(man.metadata, {p: (a, -b) for p, (a, b) in man.directions.items()})
    expected = FairGenPipeline(pipe, [woman, flipped])(
        "a photo of a doctor", 4, seed=0, num_inference_steps=3, guidance_scale=3.0
    )
    weights = named_tensors({found.name: found.directions for found in (woman, flipped)})
    system = Gated(load_backbone(tiny_pipeline()), lesson(), weights, 1.0)
    found = system.paint(ask(*(record.categories for record in expected.records)), SAMPLING)
    assert_same(found, expected.images)


def test_adapters_as_loras_are_what_plain_diffusers_paints_with_the_files(tmp_path: Path) -> None:
    woman = make_adapter(tiny_pipeline())
    save_adapter(woman, tmp_path)
    plain = tiny_pipeline()
    plain.load_lora_weights(tmp_path)
    expected = plain(
        ["a photo of a doctor"] * 2,
        generator=[torch.Generator().manual_seed(seed) for seed in (0, 1)],
        num_inference_steps=3,
        guidance_scale=3.0,
    ).images
    weights = named_tensors({woman.name: woman.directions})
    found = AsLora(load_backbone(tiny_pipeline()), lesson(), weights, 1.0)
    gated = Gated(load_backbone(tiny_pipeline()), lesson(), weights, 1.0)
    asked = ask({"gender": "woman"}, {"gender": "woman"})
    assert_same(found.paint(asked, SAMPLING), expected)
    assert found.paint(asked, SAMPLING)[0].tobytes() != gated.paint(asked, SAMPLING)[0].tobytes()


def test_adapters_survive_as_named_tensors() -> None:
    adapter = make_adapter(tiny_pipeline())
    found = named_directions(named_tensors({adapter.name: adapter.directions}))
    assert set(found) == {"gender-woman"}
    for path, (down, up) in adapter.directions.items():
        assert torch.equal(found["gender-woman"][path][0], down)
        assert torch.equal(found["gender-woman"][path][1], up)


@pytest.mark.parametrize("rival", RIVALS)
def test_a_rival_takes_the_rows_that_it_declares_and_leaves_the_base_as_it_was(
    rival: type[System],
) -> None:
    backbone = load_backbone(tiny_pipeline())
    base = Unmodified(backbone, lesson(), {}, 1.0)
    before = base.paint(ask({}, {}), SAMPLING)
    with counted(backbone) as rows:
        weights, cost = rival.train(backbone, lesson())
    measured = sum(rows) - (rival is HSpace)  # one row looks at the middle block's shape
    assert cost.denoiser_rows == measured
    assert cost.gradient_rows <= cost.denoiser_rows
    assert rival in (Unmodified, Words, FairDiffusion) or 300 < measured < 900
    system = rival(backbone, lesson(), weights, rival.settings[-1])
    with counted(backbone) as rows:
        painted = system.paint(ask(WOMAN, MAN), SAMPLING)
    assert sum(rows) == 2 * SAMPLING.num_steps * system.rows_per_image
    if rival is not Uce:  # on a random model no round may have come nearer
        assert differ(painted, before) == (rival is not Unmodified)
    system.close()
    assert not any(module._forward_hooks for module in backbone.denoiser.modules())
    assert not differ(base.paint(ask({}, {}), SAMPLING), before)


@pytest.mark.parametrize("rival", [FairDiffusion, Uce, ConceptSliders, HSpace, Official])
def test_at_strength_zero_a_rival_is_the_base_model(rival: type[System]) -> None:
    backbone = load_backbone(tiny_pipeline())
    weights, _ = rival.train(backbone, lesson())
    found = rival(backbone, lesson(), weights, 0.0).paint(ask(WOMAN, MAN), SAMPLING)
    assert_same(found, Unmodified(backbone, lesson(), {}, 1.0).paint(ask({}, {}), SAMPLING))


def test_fair_diffusion_pulls_towards_the_asked_and_away_from_the_others() -> None:
    assert edit_signs((GENDER, SKIN), {"gender": "man", "skin": "tan"}) == pytest.approx(
        [-1, 1, -1 / 3, 1, -1 / 3, -1 / 3]
    )


def test_fair_diffusion_keeps_the_strongest_of_each_channel() -> None:
    psi = torch.tensor([[[[1.0, -4.0], [2.0, 3.0]], [[40.0, 10.0], [20.0, -30.0]]]])
    assert strongest(psi, 0.5).tolist() == [[[[0, -4], [0, 3]], [[40, 0], [0, -30]]]]


def test_fair_diffusion_follows_its_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps by hand: nothing is edited in the warm-up, then the edit and its momentum are."""
    monkeypatch.setattr(fair_diffusion, "QUANTILE", 0.0)
    monkeypatch.setattr(fair_diffusion, "WARMUP_SHARE", 0.5)
    backbone = load_backbone(tiny_pipeline())
    only_gender = BaselineTask(**(vars(lesson()) | {"attributes": (GENDER,)}))
    system = FairDiffusion(backbone, only_gender, {}, setting=2.0)
    contexts = {"": 0.0, "prompt": 1.0, "woman": 3.0, "man": -1.0}

    def denoise(x: Tensor, t_N: Tensor, context: Tensor) -> Tensor:
        return context.view(-1, 1, 1, 1).expand(-1, 4, 8, 8)

    monkeypatch.setattr(backbone, "denoise", denoise)
    predict = system.prediction(
        torch.tensor(list(contexts.values())), torch.tensor([[1.0, -1.0]]), Sampling(2, 5.0)
    )
    x, t = torch.zeros(1, 4, 8, 8), torch.zeros(1)
    edit = 2.0 * (3.0 - -1.0)
    momentum = (1 - 0.6) * edit
    assert predict(x, t).unique().tolist() == pytest.approx([5.0])
    assert predict(x, t).unique().tolist() == pytest.approx([5.0 + edit + 0.3 * momentum])


def test_uce_moves_the_listed_and_keeps_the_preserved(monkeypatch: pytest.MonkeyPatch) -> None:
    """W_0 = I in two dimensions: e_1 is to become (0, 2), e_2 to stay; nothing else pulls."""
    monkeypatch.setattr(uce, "RIDGE", 1e-9)
    first, second = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    found = closed_form(torch.eye(2), first, torch.tensor([[0.0, 2.0]]), second)
    assert found.tolist() == [pytest.approx([0, 0], abs=1e-6), pytest.approx([2, 1], abs=1e-6)]


def test_uce_weighs_edit_ridge_and_preservation() -> None:
    """In one dimension W = (v c + W_0 p p + rho W_0) / (c c + p p + rho); W_0 = 1, rho = 0.1."""
    one = torch.ones(1, 1)
    found = closed_form(one, 2 * one, 6 * one, 3 * one)
    assert found.item() == pytest.approx((6 * 2 + 9 + 0.1) / (4 + 9 + 0.1))


def test_uce_edits_the_concepts_tokens_and_not_the_words_before_them() -> None:
    rounds = uce.Rounds(load_backbone(tiny_pipeline()), lesson())
    prompt, start = rounds.start_of(TEMPLATE, "doctor", [])
    assert start == 5  # begin, a, photo, of, a
    _, later = rounds.start_of(TEMPLATE, "doctor", ["female"])
    assert later == start + 1
    tokens = rounds.tokens_of("doctor")
    assert torch.equal(tokens[: len(prompt) - start], prompt[start:])
    assert rounds.tokens_of("doctor", "female").shape == tokens.shape


def test_uce_keeps_the_round_that_came_nearest_to_the_target() -> None:
    """A judge that always sees men: each round asks for more women; nothing is nearer than none."""

    class SeesMen(BrightnessJudge):
        def read(self, images: Sequence[Image.Image]) -> Perception:
            men, ones = (
                torch.tensor([[0.0, 1.0]]).expand(len(images), 2),
                torch.ones(len(images), 1),
            )
            return Perception({"gender": men, "age": men, "concept": ones}, ones)

    given = BaselineTask(**(vars(lesson()) | {"judge": SeesMen()}))
    rounds = uce.Rounds(load_backbone(tiny_pipeline()), given)
    changes, _ = rounds.run()
    assert all(not change.any() for change in changes.values())
    asked = 0.5 * uce.RATE * (1 + 2**-0.5)  # two rounds, the second at a smaller rate
    assert rounds.alphas["nurse"]["gender", "woman"] == pytest.approx(asked)
    assert rounds.alphas["nurse"]["gender", "man"] == pytest.approx(-asked)
    assert any(change.any() for change in rounds.changes().values())


def test_uce_learns_nothing_of_pictures_in_which_the_judge_names_nobody() -> None:
    """In all others it sees women: it asks for men, as it would of those alone."""

    class Hesitant(BrightnessJudge):
        num_seen = 0

        def read(self, images: Sequence[Image.Image]) -> Perception:
            men = torch.arange(len(images)) >= self.num_seen
            rows, ones = torch.stack([~men, men], 1).float(), torch.ones(len(images), 1)
            table = {"gender": rows, "age": rows, "concept": ones}
            return Perception(table, ones, {"gender": men, "age": torch.ones_like(men)})

    def alphas(num_seen: int) -> dict[tuple[str, str], float]:
        judge = Hesitant()
        judge.num_seen = num_seen
        given = BaselineTask(**(vars(lesson()) | {"judge": judge}))
        rounds = uce.Rounds(load_backbone(tiny_pipeline()), given)
        rounds.run()
        return rounds.alphas["nurse"]

    few, nobody = alphas(num_seen=3), alphas(num_seen=0)
    assert few["gender", "man"] == pytest.approx(0.5 * uce.RATE * (1 + 2**-0.5))
    assert few["gender", "woman"] == pytest.approx(-few["gender", "man"])
    assert set(nobody.values()) == {0} == {few["age", "young"], few["age", "old"]}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_h_space_learns_what_the_model_predicts(
    prediction_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noise, or the velocity sqrt(abar) noise - sqrt(1 - abar) x_0."""
    pipe = tiny_pipeline(prediction_type)
    noised: list[tuple[Tensor, Tensor, Tensor]] = []
    wanted: list[Tensor] = []
    add_noise, mse_loss = DDIMScheduler.add_noise, torch.nn.functional.mse_loss
    monkeypatch.setattr(
        DDIMScheduler, "add_noise", lambda *call: noised.append(call[1:]) or add_noise(*call)
    )
    monkeypatch.setattr(
        "fairgen.baselines.h_space.functional.mse_loss",
        lambda ours, target: wanted.append(target) or mse_loss(ours, target),
    )
    HSpace.train(load_backbone(pipe), lesson())
    assert wanted
    for (x_0, noise, t_N), target in zip(noised, wanted, strict=True):
        abar = pipe.scheduler.alphas_cumprod[t_N].view(-1, 1, 1, 1)
        velocity = abar.sqrt() * noise - (1 - abar).sqrt() * x_0
        torch.testing.assert_close(target, noise if prediction_type == "epsilon" else velocity)


@pytest.mark.slow
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_h_space_vectors_lower_the_error_that_they_are_trained_on(prediction_type: str) -> None:
    backbone = load_backbone(tiny_pipeline(prediction_type))
    vectors, _ = HSpace.train(backbone, lesson(max_rows=3000))
    assert set(vectors) == {"gender-woman", "gender-man", "age-young", "age-old"}
    pipe = tiny_pipeline(prediction_type)
    noise = torch.Generator().manual_seed(5)
    x_0, eps = torch.randn(64, 4, 8, 8, generator=noise), torch.randn(64, 4, 8, 8, generator=noise)
    t_N = torch.randint(1000, (64,), generator=noise)
    wanted = pipe.scheduler.get_velocity(x_0, eps, t_N) if "v_" in prediction_type else eps
    context = backbone.encode(["a photo of a doctor"]).expand(64)

    def error(added: Tensor) -> float:
        with torch.no_grad(), shifted(backbone, added):
            predicted = backbone.denoise(pipe.scheduler.add_noise(x_0, eps, t_N), t_N, context)
        return float((predicted - wanted).square().mean())

    vector = vectors["gender-woman"]
    assert error(vector.expand(64, -1, -1, -1)) < error(torch.zeros_like(vector)[None])


def test_h_space_needs_a_middle_block(pipe: StableDiffusionPipeline) -> None:
    backbone = load_backbone(pipe)
    backbone.denoiser.mid_block = None
    with pytest.raises(ValueError, match="which has no middle block; allowed are UNets"):
        HSpace.train(backbone, lesson())


@pytest.mark.slow
def test_the_published_loop_learns_its_target() -> None:
    """After training, the adapted model tells "a doctor" much more like its target than before."""
    backbone = load_backbone(tiny_pipeline())
    target = {"a photo of a female doctor": 2.0, "a photo of a doctor": -1.0}

    def example(rng: random.Random, attribute: str, category: str) -> Example:
        return Example("a photo of a doctor", target)

    weights, _ = learn(
        backbone,
        lesson(max_rows=4_000),
        example,
        rank=4,
        learning_rate=4e-2,
    )
    x = torch.randn(32, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    t_N = torch.full((32,), 500)

    def predicted(prompt: str) -> Tensor:
        with torch.no_grad():
            return backbone.denoise(x, t_N, backbone.encode([prompt]).expand(32))

    wanted = sum(weight * predicted(prompt) for prompt, weight in target.items())
    before = (predicted("a photo of a doctor") - wanted).square().mean()
    system = Gated(backbone, lesson(), weights, 1.0)
    gates = torch.eye(4)[[0] * 32]
    with system.bank.gated(gates):
        after = (predicted("a photo of a doctor") - wanted).square().mean()
    assert after < 0.5 * before


def test_sampling_leaves_gradients_alone(pipe: StableDiffusionPipeline) -> None:
    """The latents can be trained on: they are no inference tensors."""
    backbone = load_backbone(pipe)
    latents = sample_latents(backbone, [0], 2, lambda x, t_N: torch.zeros_like(x))
    assert not latents.is_inference() and latents.shape == (1, 4, 8, 8)
