"""What is more or less than plain LoRA is refused by a sentence that names the keys."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.fairgen.backbones.test_families import open_backbone
from tests.fairgen.exchange.lora_files import (
    FUSED,
    RANK,
    Tensors,
    fused,
    imported,
    kohya,
    original,
    randn,
    underscored,
)
from tests.families import tiny


@pytest.mark.parametrize(
    ("layer", "shape"),
    [("txt_in", (32, 32)), ("img_in", (16, 32)), ("final_layer_linear", (32, 16))],
)
def test_flux_layers_beside_the_blocks_are_refused(
    layer: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    backbone = open_backbone("FLUX.1 dev")
    tensors, _ = fused(*FUSED[0])
    tensors |= {f"lora_unet_{layer}.lora_down.weight": randn(RANK, shape[0]),
                f"lora_unet_{layer}.lora_up.weight": randn(shape[1], RANK),
                f"lora_unet_{layer}.alpha": torch.tensor(4.0)}  # fmt: skip
    with pytest.raises(
        ValueError, match=f"got directions on .*'lora_unet_{layer}.lora_down.weight'"
    ):
        imported(tensors, backbone, tmp_path)


def more(*keys: str, shape: tuple[int, ...] = (1,)) -> Callable[[Tensors, str], Tensors]:
    """Return what adds keys of a layer to a file."""
    return lambda tensors, layer: tensors | {f"{layer}{key}": torch.ones(shape) for key in keys}


REFUSED: dict[str, tuple[Callable[[Tensors, str], Tensors], str]] = {
    "DoRA": (more(".dora_scale"), "got DoRA, '{}.dora_scale', allowed is plain LoRA: merge it"),
    "DoRA of PEFT": (more(".lora_magnitude_vector"), "got DoRA, '{}.lora_magnitude_vector'"),
    "LoHa": (more(".hada_w1_a", ".hada_w1_b"), "got LoHa, '{}.hada_w1_a' and 1 more"),
    "LoKr": (more(".lokr_w1", ".lokr_w2"), "got LoKr, '{}.lokr_w1' and 1 more"),
    "OFT": (more(".oft_blocks"), "got OFT or BOFT, '{}.oft_blocks'"),
    "OFT of PEFT": (more(".oft_R.weight"), "got OFT or BOFT, '{}.oft_R.weight'"),
    "BOFT": (more(".boft_R", ".boft_s"), "got OFT or BOFT, '{}.boft_R' and 1 more"),
    "GLoRA": (more(".a1.weight", ".b2.weight"), "got GLoRA, '{}.a1.weight' and 1 more"),
    "Tucker": (more(".lora_mid.weight"), "got a Tucker core, '{}.lora_mid.weight'"),
    "IA3": (more(".weight", ".on_input"), "got IA3, '{}.on_input'"),
    "IA3 of PEFT": (more(".ia3_l"), "got IA3, '{}.ia3_l'"),
    "a bias": (more(".diff_b"), "got a trained bias, '{}.diff_b'"),
    "a bias of PEFT": (more(".lora_B.bias"), "got a trained bias, '{}.lora_B.bias'"),
    "a norm": (more(".w_norm", ".b_norm"), "got a trained norm, '{}.b_norm' and 1 more"),
    "full weights": (more(".diff"), "got full weights, '{}.diff'"),
    "weights set": (more(".set_weight"), "got full weights, '{}.set_weight'"),
    "fp8's scales": (more(".scale_weight"), "got quantised weights, '{}.scale_weight'"),
    "what nobody knows": (more(".new_weight"), "got '{}.new_weight', which is no part of a plain"),
    "an alpha alone": (more("_2.alpha"), "got '{}_2.alpha' without the directions"),
    "half a pair": (more("_2.lora_up.weight"), "half of the directions on '{}_2.lora_up.weight'"),
    "an alpha of 0": (
        lambda tensors, layer: tensors | {f"{layer}.alpha": torch.tensor(0.0)},
        "got 0 at '{}.alpha', which some tools take as no effect and others as the rank",
    ),
    "an alpha of two numbers": (more(".alpha", shape=(2,)), r"got [2] at '{}.alpha', allowed is"),
    "an infinite alpha": (
        lambda tensors, layer: tensors | {f"{layer}.alpha": torch.tensor(float("inf"))},
        "got inf at '{}.alpha'",
    ),
    "two spellings in a layer": (
        lambda tensors, layer: (
            tensors
            | {
                f"{layer}.lora_A.weight": tensors[f"{layer}.lora_down.weight"].clone(),
                f"{layer}.lora_B.weight": tensors[f"{layer}.lora_up.weight"].clone(),
            }
        ),
        "'{}.lora_down.weight', allowed is one spelling of a layer",
    ),
    "a layer that the base lacks": (
        lambda tensors, layer: (
            tensors
            | {
                "lora_unet_down_blocks_7_attn2_to_k.lora_down.weight": torch.ones(4, 16),
                "lora_unet_down_blocks_7_attn2_to_k.lora_up.weight": torch.ones(8, 4),
            }
        ),
        "got 'lora_unet_down_blocks_7_attn2_to_k.lora_down.weight', which the base has no layer",
    ),
    "keys in capitals": (
        lambda tensors, layer: {key.upper(): tensor for key, tensor in tensors.items()},
        ".ALPHA' and 23 more, which is no part of a plain LoRA",
    ),
    "layers in capitals": (
        lambda tensors, layer: {
            key.split(".", 1)[0].upper() + "." + key.split(".", 1)[1]: tensor
            for key, tensor in tensors.items()
        },
        "LORA_UNET_",
    ),
    "a text encoder": (
        lambda tensors, layer: (
            tensors
            | {
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(4, 16),
                "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.ones(32, 4),
            }
        ),
        "got directions of a text encoder, 'lora_te_text_model",
    ),
    "a convolution": (
        lambda tensors, layer: (
            tensors
            | {
                "lora_unet_conv_in.lora_down.weight": torch.ones(4, 4, 3, 3),
                "lora_unet_conv_in.lora_up.weight": torch.ones(8, 4, 1, 1),
            }
        ),
        "got a convolution on 'lora_unet_conv_in.lora_down.weight'",
    ),
    "two ranks in a pair": (
        lambda tensors, layer: (
            tensors
            | {f"{layer}.lora_down.weight": tensors[f"{layer}.lora_down.weight"][:2].clone()}
        ),
        "on '{}.lora_down.weight', allowed is one rank",
    ),
    "another width": (
        lambda tensors, layer: tensors | {f"{layer}.lora_down.weight": torch.ones(4, 999)},
        "got 999 inputs and .* outputs at '{}.lora_down.weight', the base has",
    ),
    "whole numbers": (
        lambda tensors, layer: (
            tensors
            | {
                f"{layer}.lora_down.weight": torch.ones(4, 16, dtype=torch.int8),
            }
        ),
        "got torch.int8 on '{}.lora_down.weight', allowed are floating points",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_more_than_plain_lora_is_refused_by_name(what: str, tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, expected = kohya(backbone)
    layer = underscored(next(iter(expected)))
    change, message = REFUSED[what]
    pattern = re.escape(message.format(layer)).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=pattern):
        imported(change(tensors, layer), backbone, tmp_path)


def test_two_tools_names_of_one_layer_are_refused(tmp_path: Path) -> None:
    backbone = open_backbone("SDXL")
    tensors, expected = kohya(backbone)
    module = next(iter(expected))
    for half in ("down", "up"):
        tensors[f"{original(module)}.lora_{half}.weight"] = tensors[
            f"{underscored(module)}.lora_{half}.weight"
        ].clone()
    with pytest.raises(ValueError, match=r"which are both down_blocks\.0.*one spelling of a layer"):
        imported(tensors, backbone, tmp_path)


def test_a_fused_projection_beside_its_parts_is_refused(tmp_path: Path) -> None:
    backbone = open_backbone("FLUX.1 dev")
    tensors, _ = fused(*FUSED[0])
    key = "lora_transformer_transformer_blocks_0_attn_add_k_proj"
    tensors |= {f"{key}.lora_down.weight": randn(4, 32), f"{key}.lora_up.weight": randn(32, 4)}
    with pytest.raises(ValueError, match=r"are both transformer_blocks\.0\.attn\.add_k_proj"):
        imported(tensors, backbone, tmp_path)


def test_sd_3_s_fused_names_of_a_block_that_the_base_lacks_are_refused(tmp_path: Path) -> None:
    backbone = open_backbone("SD 3")
    key = "lora_unet_joint_blocks_9_context_block_attn_qkv"
    tensors = {f"{key}.lora_down.weight": randn(4, 16), f"{key}.lora_up.weight": randn(48, 4)}
    with pytest.raises(ValueError, match=f"got '{key}.lora_down.weight', which the base has no"):
        imported(tensors, backbone, tmp_path)


@pytest.mark.parametrize("spell", [FUSED[0][0], "diffusion_model.double_blocks.{}.txt_attn.qkv"])
def test_a_fused_projection_without_effect_is_no_lora(spell: str, tmp_path: Path) -> None:
    tensors, _ = fused(spell, ("lora_down.weight", "lora_up.weight"), None)
    tensors = {key: t * ("lora_down" in key) for key, t in tensors.items()}
    with pytest.raises(ValueError, match="got zeros only, allowed is a LoRA that was trained"):
        imported(tensors, open_backbone("FLUX.1 dev"), tmp_path)


def test_a_control_lora_of_flux_is_refused(tmp_path: Path) -> None:
    backbone, layer = open_backbone("FLUX.1 dev"), "double_blocks.0.txt_attn"
    tensors = {
        f"{layer}.qkv.lora_A.weight": randn(4, 32), f"{layer}.qkv.lora_B.weight": randn(96, 4),
        f"{layer}.qkv.lora_B.bias": randn(96), f"{layer}.norm.query_norm.scale": randn(16),
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"got a trained norm, '{layer}.norm.query_norm.scale'"):
        imported(tensors, backbone, tmp_path)


def test_importing_leaves_the_denoiser_as_it_was(tmp_path: Path) -> None:
    backbone = open_backbone("FLUX.1 dev")
    before = {name: value.clone() for name, value in backbone.denoiser.state_dict().items()}
    imported(fused(*FUSED[0])[0], backbone, tmp_path)
    with pytest.raises(ValueError, match="which the base has no layer for"):
        imported(kohya(open_backbone("SD 1.x"))[0], backbone, tmp_path)
    after = backbone.denoiser.state_dict()
    assert before.keys() == after.keys() == tiny("FLUX.1 dev").transformer.state_dict().keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("half", ["lora_up", "lora_down"])
def test_a_lora_that_changes_no_picture_is_refused(half: str, tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, _ = kohya(backbone)
    tensors |= {key: torch.zeros_like(one) for key, one in tensors.items() if half in key}
    with pytest.raises(ValueError, match=r"'gender-woman, from .*got zeros on every projection"):
        imported(tensors, backbone, tmp_path)
