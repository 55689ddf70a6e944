"""Discovery lowers its error, keeps what it shall, and resumes to the same weights."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from pydantic import ValidationError

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute
from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint
from fairgen.discovery import Discovery, DiscoveryConfig
from tests.tiny import AGE, GENDER, SKIN, tiny_pipeline

CONFIG = DiscoveryConfig(
    num_updates=30,
    num_rows=8,
    num_steps=4,
    learning_rate=0.05,
    warmup=1,
    counterfactual_probability=0.0,
)
CONCEPTS, TEMPLATES = (
    ("doctor", "nurse", "pilot"),
    ("a photo of {subject}", "a portrait of {subject}"),
)


def discovery(pipe: StableDiffusionPipeline, config: DiscoveryConfig = CONFIG) -> Discovery:
    return Discovery(
        load_backbone(pipe), GENDER, CONCEPTS, TEMPLATES, config,
        preserve=("", "a photo of a car"), attributes=(GENDER, SKIN, AGE),
    )  # fmt: skip


@pytest.mark.slow
def test_the_error_falls_to_a_fraction_of_the_direction(any_pipe: StableDiffusionPipeline) -> None:
    config = CONFIG.model_copy(
        update={"rank": 8, "num_rows": 24, "num_updates": 50, "learning_rate": 0.035}
    )
    found = discovery(any_pipe, config)
    errors = [found.update().relative_error for _ in range(config.num_updates)]
    assert errors[0] == pytest.approx(1, abs=1e-3)  # nothing learnt: all of the direction misses
    assert sum(errors[-5:]) / 5 < 0.6


def test_a_category_learns_at_its_own_strength(pipe: StableDiffusionPipeline) -> None:
    def losses(config: DiscoveryConfig) -> float:
        return discovery(pipe, config).update().loss

    half = CONFIG.model_copy(update={"eta": 1.0})
    mixed = CONFIG.model_copy(update={"eta": 1.0, "category_eta": {"man": 3.0}})
    whole = CONFIG.model_copy(update={"eta": 3.0})
    assert losses(half) < losses(mixed) < losses(whole)  # nothing learnt: the loss is the target's
    found = discovery(pipe, mixed)
    assert [a.metadata.eta for a in found.adapters("abc-def", "0")] == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"category_eta: got \['child'\], allowed are"):
        discovery(pipe, CONFIG.model_copy(update={"category_eta": {"child": 1.0}}))


def test_gradients_are_not_taken_through_cudnn_s_attention(pipe: StableDiffusionPipeline) -> None:
    """Which gives NaN in half precision for shapes that its forward pass takes."""
    used: list[tuple[bool, bool]] = []
    pipe.unet.register_forward_hook(
        lambda *_: used.append((torch.is_grad_enabled(), torch.backends.cuda.cudnn_sdp_enabled()))
    )
    discovery(pipe).update()
    assert (True, False) in used and (True, True) not in used


def test_a_gradient_that_is_no_number_ends_training_before_the_weights_are_lost(
    pipe: StableDiffusionPipeline,
) -> None:
    found = discovery(pipe)
    found.update()
    before = {name: tensor.clone() for name, tensor in found.bank.state_dict().items()}
    next(pipe.unet.parameters()).data[0] = float("inf")
    with pytest.raises(FloatingPointError, match="update 2: the gradient is not finite in torch"):
        found.update()
    assert found.step == 1
    for name, tensor in found.bank.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_scale_multiplies_what_a_category_has_learnt(pipe: StableDiffusionPipeline) -> None:
    plain, scaled = (
        discovery(tiny_pipeline(), CONFIG.model_copy(update={"category_scale": scale}))
        for scale in ({}, {"man": 1.5})
    )
    for _ in range(5):
        assert plain.update() == scaled.update()  # learning knows nothing of it
    for ours, theirs, factor in zip(
        plain.adapters("abc-def", "0"), scaled.adapters("abc-def", "0"), (1.0, 1.5), strict=True
    ):
        for path, (down, up) in ours.directions.items():
            assert torch.equal(theirs.directions[path][0], down)
            torch.testing.assert_close(theirs.directions[path][1], factor * up)
            torch.testing.assert_close(theirs.as_learnt().directions[path][1], up)
        assert theirs.metadata.scale == factor
    with pytest.raises(ValueError, match=r"category_scale: got \['child'\], allowed are"):
        discovery(pipe, CONFIG.model_copy(update={"category_scale": {"child": 1.0}}))


def test_the_base_model_is_untouched(pipe: StableDiffusionPipeline) -> None:
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    found = discovery(pipe)
    for _ in range(3):
        found.update()
    assert all(torch.equal(before[name], value) for name, value in pipe.unet.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in pipe.unet.parameters())


def test_row_evaluations_per_gradient_row_are_few_and_true(pipe: StableDiffusionPipeline) -> None:
    rows = 0
    forward = pipe.unet.forward

    def counted(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        nonlocal rows
        rows += sample.shape[0]
        return forward(sample, *args, **kwargs)

    pipe.unet.forward = counted
    found = discovery(pipe)
    stats = [found.update() for _ in range(10)][-1]
    assert stats.denoiser_rows == rows
    assert stats.gradient_rows == 10 * CONFIG.num_rows
    assert stats.denoiser_rows / stats.gradient_rows <= 8


def test_every_category_and_noise_level_is_in_every_batch(pipe: StableDiffusionPipeline) -> None:
    found = discovery(pipe)
    for _ in range(6):
        assert {row.category for row in found.rows} == {0, 1}
        assert {row.step_index for row in found.rows} == set(range(CONFIG.num_steps))
        found.update()


@pytest.mark.parametrize("cut", [1, 7])
def test_resumed_training_ends_in_the_same_weights(cut: int) -> None:
    config = CONFIG.model_copy(update={"num_updates": 10})
    whole = discovery(tiny_pipeline(), config)
    for _ in range(10):
        expected = whole.update()
    first = discovery(tiny_pipeline(), config)
    for _ in range(cut):
        first.update()
    second = discovery(tiny_pipeline(), config)
    second.load_state_dict(first.state_dict())
    while second.step < 10:
        stats = second.update()
    assert stats == expected
    for name, value in whole.bank.state_dict().items():
        torch.testing.assert_close(second.bank.state_dict()[name], value, atol=1e-6, rtol=1e-6)


def joint_round(config: DiscoveryConfig) -> Discovery:
    """Return gender in the joint round, from adapters of the first, with peers of age."""
    gender, age = (
        discovery(tiny_pipeline()),
        Discovery(load_backbone(tiny_pipeline()), AGE, CONCEPTS, TEMPLATES, CONFIG),
    )
    for _ in range(5):
        gender.update()
        age.update()
    return Discovery(
        load_backbone(tiny_pipeline()), GENDER, CONCEPTS, TEMPLATES, config,
        attributes=(GENDER, SKIN, AGE),
        start=gender.adapters("0" * 12, "0123"), peers=age.adapters("0" * 12, "0123"),
    )  # fmt: skip


def test_peers_are_named_to_the_frozen_model_only_and_do_not_change() -> None:
    found = joint_round(CONFIG.model_copy(update={"peer_probability": 1.0}))
    before = {name: found.peers.directions(name) for name in found.peers.names}
    seen = []
    for _ in range(8):
        seen += [row for row in found.rows if row.peers]
        found.update()
    assert seen
    for row in seen:
        (name,) = row.peers
        word = AGE.category(name.removeprefix("age-")).word
        assert (
            word in row.neutral_prompt
            and word in row.category_prompt
            and word not in row.adapted_prompt
        )
    for name, directions in before.items():
        for path, (down, up) in found.peers.directions(name).items():
            assert torch.equal(down, directions[path][0]) and torch.equal(up, directions[path][1])


def test_the_peers_of_a_row_act_on_the_adapted_model() -> None:
    found = joint_round(CONFIG.model_copy(update={"peer_probability": 1.0}))
    batch = found.batch()
    gates = found.adapting.peer_gates(batch)
    names = found.peers.names
    num_kept = len(batch.kept)
    assert gates[-num_kept:].sum() == 0, "preservation prompts have no peers"
    for row, switched in zip(batch.rows, gates[:-num_kept], strict=True):
        assert [names[i] for i in switched.nonzero().flatten()] == row.peers
    x, t = torch.randn(2, *found.backbone.latent_shape()), torch.tensor([500, 500])
    context, own = found.backbone.encode(["a doctor"] * 2), torch.eye(2)
    predicted = []
    for beside in (torch.zeros(2, len(names)), torch.ones(2, len(names))):
        with torch.no_grad(), found.bank.gated(own), found.peers.gated(beside):
            predicted.append(found.backbone.denoise(x, t, context))
    assert (predicted[0] - predicted[1]).abs().max() > 1e-4


def test_training_uses_unscaled_directions() -> None:
    gender = discovery(tiny_pipeline(), CONFIG.model_copy(update={"category_scale": {"man": 2.0}}))
    plain = discovery(tiny_pipeline())
    for _ in range(3):
        gender.update()
        plain.update()
    scaled, learnt = (found.adapters("0" * 12, "0123") for found in (gender, plain))

    def second(start: list[Adapter], attribute: Attribute) -> list[float]:
        found = Discovery(
            load_backbone(tiny_pipeline()), attribute, CONCEPTS, TEMPLATES, CONFIG,
            attributes=(GENDER, SKIN, AGE), start=start if attribute is GENDER else (),
            peers=start if attribute is AGE else (),
        )  # fmt: skip
        return [found.update().loss for _ in range(3)]

    for attribute in (GENDER, AGE):
        assert second(scaled, attribute) == pytest.approx(second(learnt, attribute), rel=1e-5)


def test_a_neutral_prompt_may_name_the_opposite_category() -> None:
    found = discovery(
        tiny_pipeline(), CONFIG.model_copy(update={"counterfactual_probability": 1.0})
    )
    for row in found.rows:
        own, other = (GENDER.categories[i].word for i in (row.category, 1 - row.category))
        assert f" {other} " in row.neutral_prompt and f" {own} " in row.category_prompt
        assert f" {other} " not in row.category_prompt and row.adapted_prompt == row.neutral_prompt


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["alone", "with peers"])
def test_words_stand_in_the_order_of_the_attributes_the_first_next_to_the_noun(
    share: float,
) -> None:
    found = joint_round(
        CONFIG.model_copy(update={"peer_probability": share, "mix_attributes": 1.0})
    )
    order = {c.word: index for index, a in enumerate((AGE, SKIN, GENDER)) for c in a.categories}
    several = 0
    for row in found.rows:
        for prompt in (row.neutral_prompt, row.category_prompt):
            places = [order[word] for word in prompt.split() if word in order]
            assert places == sorted(places), prompt
            several += len(places) > 1
    assert several
    assert all(row.category_prompt.split()[-2] in ("female", "male") for row in found.rows)


@pytest.mark.slow
def test_a_second_round_begins_where_the_first_ended_and_resumes_the_same() -> None:
    config = CONFIG.model_copy(update={"num_updates": 8})
    whole, first, second = (joint_round(config) for _ in range(3))
    start = whole.bank.directions("gender-woman")
    assert any(up.abs().sum() > 0 for _, up in start.values())
    for _ in range(8):
        expected = whole.update()
    for _ in range(3):
        first.update()
    second.load_state_dict(first.state_dict())
    while second.step < 8:
        stats = second.update()
    assert stats == expected
    for name, value in whole.bank.state_dict().items():
        torch.testing.assert_close(second.bank.state_dict()[name], value, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_a_half_precision_base_trains_full_precision_directions() -> None:
    config = CONFIG.model_copy(update={"rank": 4, "num_updates": 40, "learning_rate": 0.02})
    found = discovery(tiny_pipeline().to(torch.bfloat16), config)
    errors = [found.update().relative_error for _ in range(config.num_updates)]
    assert sum(errors[-5:]) / 5 < 0.7
    assert {parameter.dtype for parameter in found.bank.parameters()} == {torch.float32}


def test_a_prompt_is_encoded_once(pipe: StableDiffusionPipeline) -> None:
    found, asked = discovery(pipe), []
    encode = found.backbone.encode
    found.backbone.encode = lambda prompts: asked.extend(prompts) or encode(prompts)
    for _ in range(10):
        found.update()
    assert asked and len(asked) == len(set(asked))


@pytest.mark.slow
def test_preservation_holds_the_empty_prompt(pipe: StableDiffusionPipeline) -> None:
    def drift(weight: float) -> float:
        found = discovery(tiny_pipeline(), CONFIG.model_copy(update={"keep_weight": weight}))
        return sum(found.update().keep for _ in range(CONFIG.num_updates)) / CONFIG.num_updates

    assert drift(10.0) < 0.5 * drift(0.0)


@pytest.mark.slow
def test_orthogonality_turns_directions_away_from_another_attribute() -> None:
    pipe = tiny_pipeline()
    age = Discovery(load_backbone(pipe), AGE, CONCEPTS, TEMPLATES, CONFIG)
    for _ in range(10):
        age.update()
    known = age.adapters(fingerprint(pipe.unet), "0123")

    def overlap(weight: float) -> float:
        config = CONFIG.model_copy(update={"orth_weight": weight, "num_updates": 20})
        found = Discovery(
            load_backbone(tiny_pipeline()), GENDER, CONCEPTS, TEMPLATES, config, orthogonal_to=known
        )
        for _ in range(20):
            found.update()
        return found.orthogonality().item()

    assert overlap(0.1) < 0.5 * overlap(0.0)


def test_orthogonality_is_of_the_layers_that_both_adapt() -> None:
    pipe = tiny_pipeline()
    known = Discovery(load_backbone(pipe), AGE, CONCEPTS, TEMPLATES, CONFIG)
    known.update()
    everywhere = known.adapters(fingerprint(pipe.unet), "0123")

    def overlap(projections: str) -> float:
        config = CONFIG.model_copy(update={"projections": projections, "orth_weight": 0.1})
        found = Discovery(
            load_backbone(tiny_pipeline()), GENDER, CONCEPTS, TEMPLATES, config,
            orthogonal_to=everywhere,
        )  # fmt: skip
        found.update()
        return found.orthogonality().item()

    assert 0 < overlap("v") < overlap("kv") < overlap("qkvo")


def test_states_come_from_the_adapted_model_or_from_the_frozen_one() -> None:
    def states(on_policy: bool, learning_rate: float) -> torch.Tensor:
        config = CONFIG.model_copy(update={"on_policy": on_policy, "learning_rate": learning_rate})
        found = discovery(tiny_pipeline(), config)
        for _ in range(3):
            found.update()
        return found.state_dict()["x"]

    assert torch.equal(states(False, 0.01), states(False, 0.1))  # whatever has been learnt
    assert not torch.allclose(states(True, 0.01), states(True, 0.1), atol=1e-4)


def test_adapters_carry_what_they_are(pipe: StableDiffusionPipeline) -> None:
    found = discovery(pipe)
    found.update()
    woman, man = found.adapters("abc-def", "0123")
    assert (woman.name, man.name) == ("gender-woman", "gender-man")
    assert woman.metadata.word == "female" and woman.metadata.base_fingerprint == "abc-def"
    assert woman.sha256 != man.sha256
    assert all(down.shape[0] == 1 for down, _ in woman.directions.values())


def test_a_wrong_setting_names_the_field() -> None:
    with pytest.raises(ValidationError, match="eta"):
        DiscoveryConfig(eta=-1)
    with pytest.raises(ValidationError, match="steps_total"):
        DiscoveryConfig(steps_total=3)
