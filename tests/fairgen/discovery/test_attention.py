"""Adapters learnt where the prompt is read: the model's prediction follows, and none is undone."""

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairgen.adapters import Adapter
from fairgen.backbones import load_backbone
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.discovery.attention import NUM_TOKENS
from tests.families import FAMILIES
from tests.tiny import AGE, GENDER, SKIN, tiny_pipeline

CONFIG = DiscoveryConfig(
    match="attention",
    rank=8,
    num_updates=20,
    num_rows=12,
    num_steps=4,
    learning_rate=0.03,
    warmup=1,
    counterfactual_probability=0.0,
    keep_weight=0.0,
)
CONCEPTS = ("doctor", "nurse", "pilot")
TEMPLATES = ("a photo of {subject}", "a portrait of {subject}")


def discovery(
    pipe: StableDiffusionPipeline,
    config: DiscoveryConfig = CONFIG,
    start: list[Adapter] | None = None,
    peers: list[Adapter] | None = None,
) -> Discovery:
    return Discovery(
        load_backbone(pipe), GENDER, CONCEPTS, TEMPLATES, config, attributes=(GENDER, SKIN, AGE),
        preserve=("", "a photo of a car"), start=start or (), peers=peers or (),
    )  # fmt: skip


def errors(found: Discovery, count: int) -> list[float]:
    return [found.update().relative_error for _ in range(count)]


@pytest.mark.parametrize("projections", ["kv", pytest.param("qkvo", marks=pytest.mark.slow)])
def test_what_the_layers_answer_is_learnt_and_the_prediction_follows(
    pipe: StableDiffusionPipeline, projections: str
) -> None:
    config = CONFIG.model_copy(update={"projections": projections, "num_updates": 60})
    found = discovery(pipe, config)
    seen = errors(found, 60)
    assert seen[0] == pytest.approx(1, abs=1e-3)  # nothing learnt: all of the direction misses
    assert sum(seen[-5:]) / 5 < 0.7
    learnt = found.adapters("0" * 12, "0123")
    whole = config.model_copy(update={"match": "predictions", "learning_rate": 1e-6})
    before = sum(errors(discovery(tiny_pipeline(), whole), 4)) / 4
    after = sum(errors(discovery(tiny_pipeline(), whole, start=learnt), 4)) / 4
    assert before == pytest.approx(1, abs=1e-2)
    assert after < 0.65


def test_no_gradient_passes_the_denoiser_and_its_rows_are_counted(
    pipe: StableDiffusionPipeline,
) -> None:
    rows: list[int] = []
    with_gradients: list[bool] = []
    forward = pipe.unet.forward

    def counted(sample: torch.Tensor, *args: object, **kwargs: object) -> object:
        rows.append(len(sample))
        with_gradients.append(torch.is_grad_enabled())
        return forward(sample, *args, **kwargs)

    pipe.unet.forward = counted
    found = discovery(pipe)
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    stats = [found.update() for _ in range(5)][-1]
    assert not any(with_gradients)
    assert stats.denoiser_rows == sum(rows)
    assert stats.gradient_rows == 0
    assert all(torch.equal(before[name], value) for name, value in pipe.unet.state_dict().items())


def test_the_denoiser_reads_the_words_alone_and_the_layers_some_tokens(
    pipe: StableDiffusionPipeline,
) -> None:
    read: list[torch.Tensor] = []
    learnt_from: set[int] = set()
    forward = pipe.unet.forward

    def seen(*args: object, encoder_hidden_states: torch.Tensor, **kwargs: object) -> object:
        read.extend(encoder_hidden_states)
        return forward(*args, encoder_hidden_states=encoder_hidden_states, **kwargs)

    def counted(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if torch.is_grad_enabled():
            learnt_from.add(given[0].shape[1])

    pipe.unet.forward = seen
    for name, layer in pipe.unet.named_modules():
        if name.endswith("attn2"):
            layer.register_forward_pre_hook(counted)
    found = discovery(pipe)
    prompts = {None, *(row.category_prompt for row in found.rows)}
    found.update()
    known = [found.backbone.encode([prompt])["text"][0] for prompt in prompts]
    assert read
    for text in read:
        assert any(torch.equal(text, one) for one in known)
    assert max(learnt_from) == NUM_TOKENS  # of 64 where there are most
    assert min(learnt_from) < NUM_TOKENS


def test_a_state_serves_several_steps_of_the_optimiser() -> None:
    once, often = (
        discovery(tiny_pipeline(), CONFIG.model_copy(update={"steps_per_state": steps}))
        for steps in (1, 6)
    )
    assert sum(errors(often, 10)[-3:]) < sum(errors(once, 10)[-3:]) - 0.1


@pytest.mark.slow
def test_what_is_preserved_is_held(pipe: StableDiffusionPipeline) -> None:
    def kept(weight: float) -> float:
        found = discovery(tiny_pipeline(), CONFIG.model_copy(update={"keep_weight": weight}))
        return sum(found.update().keep for _ in range(20))

    assert kept(1.0) < 0.7 * kept(0.0)


@pytest.mark.slow
def test_a_category_learns_at_its_own_strength() -> None:
    def size(config: DiscoveryConfig) -> dict[str, float]:
        found = discovery(tiny_pipeline(), config)
        errors(found, 20)
        return {
            a.metadata.category: sum(float((b @ down).norm()) for down, b in a.directions.values())
            for a in found.adapters("0" * 12, "0123")
        }

    even = size(CONFIG.model_copy(update={"eta": 1.0}))
    odd = size(CONFIG.model_copy(update={"eta": 1.0, "category_eta": {"man": 2.0}}))
    assert odd["man"] / odd["woman"] > 1.3 * even["man"] / even["woman"]


@pytest.mark.parametrize("cut", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_resumed_training_ends_in_the_same_weights_beside_peers_too(cut: int) -> None:
    config = CONFIG.model_copy(update={"num_updates": 10, "peer_probability": 0.5})
    peers = Discovery(
        load_backbone(tiny_pipeline()), AGE, CONCEPTS, TEMPLATES, config
    ).adapters("0" * 12, "0123")  # fmt: skip
    for adapter in peers:
        for _, up in adapter.directions.values():
            up += 0.1
    whole = discovery(tiny_pipeline(), config, peers=peers)
    for _ in range(10):
        expected = whole.update()
    first = discovery(tiny_pipeline(), config, peers=peers)
    for _ in range(cut):
        first.update()
    second = discovery(tiny_pipeline(), config, peers=peers)
    second.load_state_dict(first.state_dict())
    while second.step < 10:
        stats = second.update()
    assert stats == expected
    for name, tensor in whole.bank.state_dict().items():
        assert torch.equal(second.bank.state_dict()[name], tensor)


def test_peers_share_in_what_is_answered() -> None:
    """With those that do a part of the work there is another error to begin with."""
    config = CONFIG.model_copy(update={"peer_probability": 1.0, "learning_rate": 1e-6})
    none = Discovery(
        load_backbone(tiny_pipeline()), AGE, CONCEPTS, TEMPLATES, config
    ).adapters("0" * 12, "0123")  # fmt: skip
    some = [
        Adapter(a.metadata, {p: (d, torch.ones_like(u)) for p, (d, u) in a.directions.items()})
        for a in none
    ]
    bare, beside = (errors(discovery(tiny_pipeline(), config, peers=p), 1) for p in (none, some))
    assert bare != beside


@pytest.mark.parametrize("family", [pytest.param("SDXL", marks=pytest.mark.slow), "SD 2.x"])
def test_other_families_whose_layers_read_the_prompt_alone_learn_so(family: str) -> None:
    found = Discovery(
        load_backbone(FAMILIES[family]()),
        GENDER,
        ("doctor",),
        TEMPLATES,
        CONFIG,
        attributes=(GENDER,),
    )
    seen = errors(found, 20)
    assert seen[-1] < 0.8 * seen[0]


@pytest.mark.parametrize("family", ["SANA", "SD 3", "Z-Image"])
def test_a_family_whose_attention_reads_more_is_refused(family: str) -> None:
    with pytest.raises(ValueError, match=r"discovery.match: got 'attention', allowed is 'pred"):
        Discovery(load_backbone(FAMILIES[family]()), GENDER, ("doctor",), TEMPLATES, CONFIG)
