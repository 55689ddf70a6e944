"""A layer of a LoRA is known under the names of every tool, and keeps its own strength."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.fairgen.backbones.test_families import denoised, open_backbone
from tests.fairgen.exchange.lora_files import (
    DRAW,
    FUSED,
    RANK,
    check,
    file_of,
    fused,
    imported,
    kohya,
    original,
    randn,
    underscored,
)
from tests.fairgen.exchange.test_round_trip import effect
from tests.families import KINDS


def test_the_keys_of_a_peft_model_in_memory_come_in(tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    halves = ("lora_A.default.weight", "lora_B.default.weight")
    tensors, expected = file_of(backbone, lambda m: f"unet.{m}.", halves)
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize("prefix", ["unet.", "", "diffusion_model.", "model.diffusion_model."])
def test_a_layer_is_known_under_every_prefix(prefix: str, tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, expected = file_of(backbone, lambda module: f"{prefix}{module}.")
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize("family", ["PixArt-sigma", "SD 3.5", "FLUX.1 dev"])
@pytest.mark.parametrize(
    "spell", ["transformer.{}", "diffusion_model.{}", "lora_transformer_{}", "lycoris_{}"]
)
def test_a_transformer_s_layer_is_known_under_every_prefix(
    family: str, spell: str, tmp_path: Path
) -> None:
    backbone = open_backbone(family)

    def name(module: str) -> str:
        return spell.format(module.replace(".", "_") if spell.endswith("_{}") else module) + "."

    tensors, expected = file_of(
        backbone, name, ("lora_down.weight", "lora_up.weight"), alphas=lambda index: 2.0
    )
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize("end", [("lora.down.weight", "lora.up.weight"), "processor"])
def test_the_older_forms_of_diffusers_come_in(end: object, tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    if end == "processor":

        def name(module: str) -> str:
            block, _, layer = module.partition(".attn2.")
            return f"unet.{block}.attn2.processor.{layer.removesuffix('.0')}_lora."

        tensors, expected = file_of(backbone, name, ("down.weight", "up.weight"))
    else:
        tensors, expected = file_of(backbone, lambda m: f"unet.{m}.", end)
    found = imported(tensors, backbone, tmp_path)
    check(found, expected)
    ours = effect(backbone, found)
    backbone.pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    torch.testing.assert_close(denoised(backbone), ours, atol=1e-5, rtol=1e-4)


def test_each_layer_keeps_its_own_alpha_and_rank(tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, expected = kohya(
        backbone, alphas=lambda index: 0.5 + index, ranks=lambda index: 1 + index % 3
    )
    check(imported(tensors, backbone, tmp_path), expected)


def test_a_layer_without_alpha_has_strength_1_whatever_the_others_have(tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, expected = kohya(backbone)
    for index, module in enumerate(expected):
        if index % 2:
            del tensors[f"{underscored(module)}.alpha"]
            expected[module] = expected[module] * RANK / 2
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL"])
def test_one_alpha_for_all_is_what_diffusers_itself_loads(family: str, tmp_path: Path) -> None:
    backbone = open_backbone(family)
    found = imported(kohya(backbone)[0], backbone, tmp_path)
    ours = effect(backbone, found)
    backbone.pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
    torch.testing.assert_close(denoised(backbone), ours, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "alpha", [torch.tensor([2.0]), torch.tensor(2), torch.tensor([[2.0]]), torch.tensor(2.0).half()]
)
def test_an_alpha_is_one_number_in_any_shape_and_type(alpha: Tensor, tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, expected = kohya(backbone)
    tensors = {key: alpha.clone() if key.endswith("alpha") else t for key, t in tensors.items()}
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_low_precision_come_in_as_they_are(dtype: torch.dtype, tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, _ = kohya(backbone)
    tensors = {key: t if key.endswith("alpha") else t.to(dtype) for key, t in tensors.items()}
    expected = {
        module: 0.5 * tensors[f"{underscored(module)}.lora_up.weight"].float()
        @ tensors[f"{underscored(module)}.lora_down.weight"].float()
        for module in backbone.projections("kv")
    }  # fmt: skip
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize("halves", ["lora_down lora_up", "lora_A lora_B", "lora.down lora.up"])
def test_the_original_names_of_sdxl_s_blocks_come_in(halves: str, tmp_path: Path) -> None:
    backbone = open_backbone("SDXL")
    tensors, expected = file_of(
        backbone, lambda m: original(m) + ".", tuple(f"{half}.weight" for half in halves.split()),
        alphas=lambda index: 1.0 + index,
    )  # fmt: skip
    check(imported(tensors, backbone, tmp_path), expected)


@pytest.mark.parametrize(("spell", "halves", "alpha"), FUSED)
def test_a_fused_projection_is_split(
    spell: str, halves: tuple[str, str], alpha: float | None, tmp_path: Path
) -> None:
    backbone = open_backbone("FLUX.1 dev")
    tensors, expected = fused(spell, halves, alpha)
    found = imported(tensors, backbone, tmp_path)
    check(found, expected)
    if "lora" in spell and not spell.startswith("diffusion_model"):  # diffusers loads it, too
        ours = effect(backbone, found)
        backbone.pipe.load_lora_weights(tmp_path, weight_name="lora.safetensors")
        torch.testing.assert_close(denoised(backbone), ours, atol=1e-5, rtol=1e-4)


ENDS = (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up"))


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_any_mix_of_names_ranks_alphas_and_types_keeps_each_layer_s_strength(
    family: str, seed: int, tmp_path: Path
) -> None:
    backbone, rng, tensors, expected = open_backbone(family), random.Random(seed), {}, {}
    DRAW.manual_seed(seed)
    for module in rng.sample(backbone.projections("qkvo"), 5):
        layer, rank = backbone.denoiser.get_submodule(module), rng.randint(1, 6)
        dtype = rng.choice([torch.float32, torch.float16, torch.bfloat16])
        down = randn(rank, layer.in_features).to(dtype)
        up = randn(layer.out_features, rank).to(dtype)
        names = [f"{backbone.denoiser_name}.{module}", module, f"diffusion_model.{module}",
                 underscored(module), f"lycoris_{module.replace('.', '_')}"]  # fmt: skip
        names += [original(module)] if family == "SDXL" else []
        name, ends = rng.choice(names), rng.choice(ENDS)
        tensors |= {f"{name}.{ends[0]}.weight": down, f"{name}.{ends[1]}.weight": up}
        scale = 1.0
        if rng.random() < 0.6:
            alpha = rng.choice([0.5, 1.0, 8.0, -1.0])
            tensors[f"{name}.alpha"], scale = torch.tensor(alpha), alpha / rank
        expected[module] = scale * up.float() @ down.float()
    check(imported(tensors, backbone, tmp_path), expected)
