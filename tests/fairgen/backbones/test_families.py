"""Every family does what the method needs: the same for all, on tiny pipelines of real classes."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from fairgen.adapters import Adapter, load_adapter, save_adapter
from fairgen.backbones import Backbone, load_backbone
from fairgen.bank import AdapterBank
from fairgen.base_model import fingerprint
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.families import FAMILIES, KINDS, WITH_LOADER, as_the_engine, size_of, tiny
from tests.tiny import GENDER

CONFIG = DiscoveryConfig(
    num_updates=32, num_rows=8, num_steps=4, rank=2, learning_rate=3e-2, keep_weight=0.1
)
PROMPT = "a photo of a doctor"
families = pytest.mark.parametrize("family", FAMILIES)
# what takes seconds a family is fast for one of each kind only
kinds_first = pytest.mark.parametrize(
    "family", [f if f in KINDS else pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES]
)


def open_backbone(family: str) -> Backbone:
    pipe = tiny(family)
    return load_backbone(pipe, size_of(pipe))


def options_of(pipe: DiffusionPipeline, guidance_scale: float = 4.0) -> dict[str, Any]:
    """Return what the family's own pipeline is told to paint as the engine does."""
    return as_the_engine(pipe, 4, guidance_scale)


def discovery(backbone: Backbone, config: DiscoveryConfig = CONFIG) -> Discovery:
    return Discovery(
        backbone, GENDER, ("doctor", "nurse"), ("a photo of {subject}",), config
    )  # fmt: skip


def learnt(backbone: Backbone, num_updates: int = 2) -> list[Adapter]:
    """Return the adapters of a few updates."""
    found = discovery(backbone)
    for _ in range(num_updates):
        found.update()
    found.bank.close()
    return found.adapters(fingerprint(backbone.denoiser), "0123")


@cache
def adapters_of(family: str, num_updates: int = 1) -> list[Adapter]:
    """Return adapters that fit every tiny pipeline of a family."""
    return learnt(open_backbone(family), num_updates)


def paint(engine: Engine, pictures: list[ImageJob]) -> list[Image.Image]:
    return engine.paint(pictures)


def same(one: Image.Image, other: Image.Image) -> bool:
    """Return whether two pictures agree to 1e-3 but for the rounding to 8 bits."""
    return bool(np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1)


@pytest.mark.cell("train")
@kinds_first
def test_discovery_lowers_its_error(family: str) -> None:
    found = discovery(open_backbone(family))
    errors = [found.update().relative_error for _ in range(CONFIG.num_updates)]
    assert errors[0] == pytest.approx(1, abs=1e-3)  # nothing learnt: all of the direction misses
    assert sum(errors[-10:]) / 10 < 0.75


@pytest.mark.cell("train")
@families
def test_adapters_that_have_learnt_nothing_yet_keep_what_is_to_be_kept(family: str) -> None:
    """What the frozen model predicts of no prompt is what the adapted one has to."""
    found = discovery(open_backbone(family))
    assert found.update().keep == pytest.approx(0, abs=1e-9)


@pytest.mark.cell("engine equality")
@families
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_the_engine_equals_the_family_s_own_pipeline(family: str, guidance_scale: float) -> None:
    pipe = tiny(family)
    generator = torch.Generator().manual_seed(7)
    plain = pipe(prompt=PROMPT, generator=generator, **options_of(pipe, guidance_scale))[0][0]
    picture = ImageJob(PROMPT, 7, num_steps=4, guidance_scale=guidance_scale)
    (ours,) = paint(Engine(load_backbone(pipe, size_of(pipe))), [picture])
    assert np.asarray(plain).std() > 20
    assert same(ours, plain)


@pytest.mark.cell("bank equality")
@families
def test_gates_at_zero_are_the_bare_pipeline(family: str) -> None:
    pipe = tiny(family)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    options = options_of(pipe)
    bare = pipe(prompt=PROMPT, generator=generators, num_images_per_prompt=2, **options)[0]
    fair = FairGenPipeline(pipe, adapters_of(family))
    off = fair(PROMPT, 2, "off", seed=3, **options).images
    on = fair(PROMPT, 2, {"gender": {"woman": 1.0}}, seed=3, **options).images
    for one, other, moved in zip(bare, off, on, strict=True):
        assert one.tobytes() == other.tobytes() != moved.tobytes()


@pytest.mark.cell("bank equality")
@families
def test_a_mixed_batch_equals_each_picture_alone(family: str) -> None:
    backbone = open_backbone(family)
    engine = Engine(backbone)
    for adapter in adapters_of(family):
        engine.load(adapter.name, adapter)
    mixed = [
        ImageJob(PROMPT, 1, {"gender-woman": 1.0}, num_steps=4, guidance_scale=4.0),
        ImageJob("a nurse", 2, {"gender-man": 1.0}, num_steps=3, guidance_scale=1.0),
        ImageJob("a pilot", 3, {}, num_steps=5, guidance_scale=2.0),
    ]
    together = paint(engine, mixed)
    for picture, image in zip(mixed, together, strict=True):
        assert same(image, paint(engine, [picture])[0])


@pytest.mark.cell("engine equality")
@families
def test_the_engine_s_adapters_are_the_library_pipeline_s(family: str) -> None:
    pipe, adapters = tiny(family), adapters_of(family)
    fair = FairGenPipeline(pipe, adapters)
    expected = fair(PROMPT, 2, {"gender": {"man": 1.0}}, seed=3, **options_of(pipe)).images
    engine = Engine(open_backbone(family))
    for adapter in adapters:
        engine.load(adapter.name, adapter)
    pictures = [ImageJob(PROMPT, 3 + i, {"gender-man": 1.0}, 4, 4.0) for i in range(2)]
    for ours, theirs in zip(paint(engine, pictures), expected, strict=True):
        assert same(ours, theirs)


def test_lists_of_the_caller_are_read_and_no_more() -> None:
    """Z-Image's pipeline writes its chat template into them (diffusers 0.42.1)."""
    pipe = tiny("Z-Image")
    fair, negative = FairGenPipeline(pipe, adapters_of("Z-Image")), ["a photo of a car"]
    options = options_of(pipe) | {"negative_prompt": negative}
    painted = [fair(PROMPT, 2, seed=3, batch_size=size, **options).images for size in (1, 2)]
    for one, other in zip(*painted, strict=True):
        assert same(one, other)
    assert negative == ["a photo of a car"]


@pytest.mark.parametrize("family", WITH_LOADER)
def test_a_saved_adapter_is_a_lora_of_plain_diffusers(family: str, tmp_path: Any) -> None:
    (woman, _) = adapters_of(family)
    save_adapter(woman, tmp_path)
    assert load_adapter(tmp_path).sha256 == woman.sha256
    backbone = open_backbone(family)
    bare = denoised(backbone)
    bank = AdapterBank(backbone.denoiser, list(woman.directions))
    bank.add("woman", woman.directions)
    with bank.gated(torch.ones(2, 1)):
        gated = denoised(backbone)
    bank.close()
    pipe = backbone.pipe
    pipe.load_lora_weights(tmp_path)
    assert (gated - bare).abs().max() > 1e-3
    torch.testing.assert_close(denoised(backbone), gated, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["SD LCM", "FLUX.1 dev", "SANA-Sprint"])
def test_a_model_that_is_told_its_guidance_takes_one_row_and_no_negative_prompt(
    family: str,
) -> None:
    engine = Engine(open_backbone(family))
    with pytest.raises(ValueError, match="negative_prompt: got 'a car', allowed is none"):
        engine.submit([ImageJob(PROMPT, 1, negative_prompt="a car")])
    engine.submit([ImageJob(PROMPT, seed, num_steps=2, guidance_scale=4.0) for seed in range(3)])
    engine.step()
    assert engine.last_rows == 3


@pytest.mark.cell("train")
@kinds_first
def test_checkpointed_gradients_lead_to_the_same_weights(family: str) -> None:
    plain, spared = open_backbone(family), open_backbone(family)
    if not spared.denoiser._supports_gradient_checkpointing:
        with pytest.raises(ValueError, match="does not support gradient checkpointing"):
            spared.denoiser.enable_gradient_checkpointing()
        return
    spared.denoiser.enable_gradient_checkpointing()
    for ours, theirs in zip(learnt(plain), learnt(spared), strict=True):
        for path, pair in ours.directions.items():
            for one, other in zip(pair, theirs.directions[path], strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def denoised(backbone: Backbone) -> Tensor:
    noise = torch.Generator().manual_seed(0)
    x = torch.randn(2, *backbone.latent_shape(), generator=noise)
    context, t_N = backbone.encode([PROMPT, "a nurse"]), torch.tensor([900, 400])
    with torch.no_grad():
        return backbone.denoise(x, t_N, context, torch.full((2,), 4.0))


@pytest.mark.parametrize("family", ["AuraFlow", "Lumina 2"])
def test_embedded_prompts_with_their_masks_paint_what_the_prompts_do(family: str) -> None:
    pipe = tiny(family)
    fair = FairGenPipeline(pipe, adapters_of(family))
    names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds",
             "negative_prompt_attention_mask")  # fmt: skip
    with torch.no_grad():
        embedded = dict(zip(names, pipe.encode_prompt(PROMPT), strict=True))
    options, woman = options_of(pipe), {"gender": {"woman": 1.0}}
    expected = fair(PROMPT, 3, woman, seed=3, **options).images
    painted = fair(None, 3, woman, seed=3, **options, **embedded).images
    for one, other in zip(painted, expected, strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("family", ["Z-Image", "Z-Image-Turbo"])
@pytest.mark.parametrize("guidance_scale", [0.0, 3.0])
def test_prompts_embedded_as_lists_paint_what_the_prompts_do(
    family: str, guidance_scale: float
) -> None:
    pipe = tiny(family)
    names = ("prompt_embeds", "negative_prompt_embeds")
    with torch.no_grad():
        embedded = dict(zip(names, pipe.encode_prompt(PROMPT), strict=True))
    pipe.text_encoder = None  # who embeds prompts has no room for it
    options, woman = options_of(pipe, guidance_scale), {"gender": {"woman": 1.0}}
    with FairGenPipeline(tiny(family), adapters_of(family)) as fair:
        expected = fair(PROMPT, 3, woman, seed=3, **options).images
    with FairGenPipeline(pipe, adapters_of(family)) as fair:
        for batch_size in (1, 3):
            asked = options | embedded | {"batch_size": batch_size}
            painted = fair(None, 3, woman, seed=3, **asked).images
            for one, other in zip(painted, expected, strict=True):
                assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= 1


@pytest.mark.parametrize(
    ("family", "name"), [("FLUX.2 dev", "text_encoder"), ("FLUX.2 klein", "tokenizer")]
)
def test_what_finds_the_tokens_of_embedded_prompts_is_named_where_it_is_gone(
    family: str, name: str
) -> None:
    pipe = tiny(family)
    with torch.no_grad():
        text, *_ = pipe.encode_prompt(PROMPT)
    setattr(pipe, name, None)
    options = options_of(pipe) | {"prompt_embeds": text}
    with FairGenPipeline(pipe, adapters_of(family)) as fair:
        assert fair(None, 1, "off", **options).images
        with pytest.raises(ValueError, match=f"^{name}: got None, allowed is the pipeline's own"):
            fair(None, 1, **options)


def test_no_family_is_named_but_in_its_file_the_registry_and_the_recipes() -> None:
    """The embedded model is exempt: it *is* such a pipeline."""
    root = Path(__file__).parents[3]
    names = re.compile(
        r"StableDiffusion|PixArt|Flux|SD3|Sana|ZImage|AuraFlow|QwenImage|Krea2|Chroma|Lumina|Hunyuan"
        r"|Kolors|Kandinsky|HiDream|Ideogram"
    )
    exempt = {root / "fairgen" / "backbones", root / "fairgen" / "portraits"}
    found = [
        file
        for package in ("fairgen", "pipelines")
        for file in (root / package).rglob("*.py")
        if not exempt & set(file.parents) and names.search(file.read_text())
    ]
    assert not found
    shared = (root / "fairgen" / "backbones" / name for name in ("backbone.py", "flow.py"))
    assert not [file for file in shared if names.search(file.read_text())]
