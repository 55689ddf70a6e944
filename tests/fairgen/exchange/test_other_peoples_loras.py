"""A LoRA of another tool has the strength that it has there, layer by layer, or is refused by a
sentence that names the keys which cannot be kept.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.utils import recurse_remove_peft_layers
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairgen.adapters import Adapter, fingerprint
from fairgen.backbones import Backbone
from fairgen.exchange import import_adapter
from tests.fairgen.backbones.test_families import denoised, open_backbone
from tests.fairgen.exchange.test_round_trip import effect
from tests.families import KINDS, tiny
from tests.tiny import GENDER

Tensors = dict[str, Tensor]
Expected = dict[str, Tensor]  # module -> alpha / rank * up @ down
RANK = 4
DRAW = torch.Generator()


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW)


def underscored(module: str) -> str:
    return "lora_unet_" + module.replace(".", "_")


def file_of(
    backbone: Backbone,
    name: Callable[[str], str],
    halves: tuple[str, str] = ("lora_A.weight", "lora_B.weight"),
    alphas: Callable[[int], float] | None = None,
    ranks: Callable[[int], int] = lambda index: RANK,
) -> tuple[Tensors, Expected]:
    """Return a LoRA on keys and values under a tool's names, and what it does to each layer."""
    DRAW.manual_seed(0)
    tensors, expected = {}, {}
    for index, module in enumerate(backbone.projections("kv")):
        layer, rank = backbone.denoiser.get_submodule(module), ranks(index)
        down, up = randn(rank, layer.in_features), randn(layer.out_features, rank)
        tensors |= {f"{name(module)}{halves[0]}": down, f"{name(module)}{halves[1]}": up}
        scale = 1.0
        if alphas is not None:
            tensors[f"{name(module).removesuffix('.')}.alpha"] = torch.tensor(alphas(index))
            scale = alphas(index) / rank
        expected[module] = scale * up @ down
    return tensors, expected


def kohya(backbone: Backbone, **options: object) -> tuple[Tensors, Expected]:
    halves = ("lora_down.weight", "lora_up.weight")
    options = {"alphas": lambda index: 2.0} | options
    return file_of(backbone, lambda m: underscored(m) + ".", halves, **options)


def imported(
    tensors: Tensors, backbone: Backbone, folder: Path, header: dict[str, str] | None = None
) -> Adapter:
    file = folder / "lora.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata=header)
    return import_adapter(file, backbone, GENDER, "woman", fingerprint(backbone.denoiser))


def check(found: Adapter, expected: Expected) -> None:
    assert found.directions.keys() == expected.keys()
    for module, (down, up) in found.directions.items():
        torch.testing.assert_close(up @ down, expected[module], atol=1e-4, rtol=1e-4)


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


def original(module: str) -> str:
    """Return SDXL's original name of a layer of the tiny denoiser, which has one layer a block."""
    block, _, rest = module.partition(".attentions.")
    index, _, inner = rest.partition(".")
    position = {
        "down_blocks.0": "input_blocks_1_1",
        "mid_block": "middle_block_1",
        "up_blocks.1": f"output_blocks_{2 + int(index)}_1",
    }[block]
    return f"lora_unet_{position}_{inner.replace('.', '_')}"


@pytest.mark.parametrize("halves", ["lora_down lora_up", "lora_A lora_B", "lora.down lora.up"])
def test_the_original_names_of_sdxl_s_blocks_come_in(halves: str, tmp_path: Path) -> None:
    backbone = open_backbone("SDXL")
    tensors, expected = file_of(
        backbone, lambda m: original(m) + ".", tuple(f"{half}.weight" for half in halves.split()),
        alphas=lambda index: 1.0 + index,
    )  # fmt: skip
    check(imported(tensors, backbone, tmp_path), expected)


def fused(spell: str, halves: tuple[str, str], alpha: float | None) -> tuple[Tensors, Expected]:
    """Return a LoRA on the text stream's fused projections, under a tool's names."""
    DRAW.manual_seed(1)
    tensors, expected = {}, {}
    for block in (0, 1):
        down, up = randn(RANK, 32), randn(96, RANK)
        layer = spell.format(block)
        tensors |= {f"{layer}.{halves[0]}": down, f"{layer}.{halves[1]}": up}
        if alpha is not None:
            tensors[f"{layer}.alpha"] = torch.tensor(alpha)
        for letter, part in zip("qkv", up.chunk(3), strict=True):
            module = f"transformer_blocks.{block}.attn.add_{letter}_proj"
            expected[module] = (1.0 if alpha is None else alpha / RANK) * part @ down
    return tensors, expected


FUSED = [
    ("lora_unet_double_blocks_{}_txt_attn_qkv", ("lora_down.weight", "lora_up.weight"), 3.0),
    ("lora_unet_double_blocks_{}_txt_attn_qkv", ("lora_down.weight", "lora_up.weight"), None),
    ("double_blocks.{}.processor.qkv_lora2", ("down.weight", "up.weight"), None),
    ("diffusion_model.double_blocks.{}.processor.qkv_lora2", ("down.weight", "up.weight"), None),
    ("diffusion_model.double_blocks.{}.txt_attn.qkv", ("lora_A.weight", "lora_B.weight"), None),
    ("double_blocks.{}.txt_attn.qkv", ("lora_down.weight", "lora_up.weight"), 2.0),
]


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


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"ss_network_dim": "4", "ss_network_alpha": "1"}, r"got ss_network_alpha 1 at rank 4 and"),
        ({"ss_network_dim": "4", "ss_network_alpha": "4.0"}, None),
        ({"lora_adapter_metadata": '{"unet.r": 8, "unet.lora_alpha": 8}'}, "its config says 8"),
        ({"lora_adapter_metadata": "{"}, "as lora_adapter_metadata, allowed is one denoiser's"),
    ],
)
def test_a_header_that_contradicts_the_weights_is_refused(
    header: dict[str, str], message: str | None, tmp_path: Path
) -> None:
    backbone = open_backbone("SD 1.x")
    tensors, expected = file_of(backbone, lambda m: f"unet.{m}.")
    if message is None:
        check(imported(tensors, backbone, tmp_path, header), expected)
        return
    with pytest.raises(ValueError, match=message):
        imported(tensors, backbone, tmp_path, header)


@pytest.mark.parametrize("more_fields", [{}, {"use_rslora": True}])
def test_what_diffusers_has_saved_of_a_config_is_the_strength(
    more_fields: dict[str, object], tmp_path: Path
) -> None:
    backbone = open_backbone("SD 1.x")
    first, second = backbone.projections("kv")[:2]
    config = LoraConfig(
        r=4, lora_alpha=2, target_modules=backbone.projections("kv"),
        rank_pattern={first: 2}, alpha_pattern={second: 7}, init_lora_weights=False, **more_fields,
    )  # fmt: skip
    backbone.denoiser.add_adapter(config)
    expected = denoised(backbone)
    type(backbone.pipe).save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(backbone.denoiser),
        unet_lora_adapter_metadata=backbone.denoiser.peft_config["default"].to_dict(),
    )
    recurse_remove_peft_layers(backbone.denoiser)
    found = import_adapter(tmp_path, open_backbone("SD 1.x"), GENDER, "woman", "0" * 12)
    torch.testing.assert_close(
        effect(open_backbone("SD 1.x"), found), expected, atol=1e-5, rtol=1e-4
    )


def peft_folder(folder: Path, **fields: object) -> Backbone:
    """Write what PEFT writes of a LoRA on keys and values; return the backbone that wears it."""
    torch.manual_seed(0)
    backbone = open_backbone("SD 1.x")
    options = {"r": 4, "lora_alpha": 2, "target_modules": backbone.projections("kv")} | fields
    model = get_peft_model(backbone.denoiser, LoraConfig(init_lora_weights=False, **options))
    model.save_pretrained(str(folder))
    return backbone


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"attn2.to_k": 3}, "alpha_pattern": {"attn2.to_v": 5}},
        {"rank_pattern": {"to_v": 8}, "use_rslora": True},
        {"target_modules": ["attn2.to_k"]},
        {"target_modules": r".*attn2\.to_v"},
    ],
)
def test_a_folder_of_peft_has_the_strength_that_peft_gives_it(
    fields: dict[str, object], tmp_path: Path
) -> None:
    expected = denoised(peft_folder(tmp_path, **fields))
    backbone = open_backbone("SD 1.x")
    found = import_adapter(tmp_path, backbone, GENDER, "woman", fingerprint(backbone.denoiser))
    torch.testing.assert_close(effect(backbone, found), expected, atol=1e-5, rtol=1e-4)
    again = open_backbone("SD 1.x")
    PeftModel.from_pretrained(again.denoiser, str(tmp_path))
    torch.testing.assert_close(denoised(again), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target_modules", ["attn2.to_k"], "got weights for .*to_v.*its config does not name"),
        ("target_modules", ["attn2.to_k", "attn2.to_v", "attn2.to_q"], "got no weights for .*to_q"),
        ("r", 8, "got rank 4 on .*, its config says 8"),
        ("lora_alpha", 0, "got alpha 0 for .*, allowed is a number but 0"),
        ("lora_alpha", "x", "the config gives .* no strength"),
        ("use_dora", True, "use_dora: got True, allowed are"),
        ("bias", "lora_only", "bias: got 'lora_only', allowed are"),
        ("lora_bias", True, "lora_bias: got True, allowed are"),
        ("peft_type", "LOHA", "peft_type: got 'LOHA', allowed are"),
        ("something_new", 3, "got 'something_new' in its config, which this PEFT does not know"),
    ],
)
def test_a_config_of_peft_that_says_otherwise_than_the_weights_is_refused(
    field: str, value: object, message: str, tmp_path: Path
) -> None:
    peft_folder(tmp_path)
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {field: value}))
    backbone = open_backbone("SD 1.x")
    with pytest.raises(ValueError, match=message):
        import_adapter(tmp_path, backbone, GENDER, "woman", fingerprint(backbone.denoiser))


def test_peft_s_weights_are_taken_with_their_config_only(tmp_path: Path) -> None:
    expected = denoised(peft_folder(tmp_path / "peft"))
    backbone, weights = open_backbone("SD 1.x"), tmp_path / "peft" / "adapter_model.safetensors"
    found = import_adapter(weights, backbone, GENDER, "woman", fingerprint(backbone.denoiser))
    torch.testing.assert_close(effect(backbone, found), expected, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="got weights of PEFT without their alpha, allowed is the"):
        imported(load_file(weights), backbone, tmp_path)


def test_importing_leaves_the_denoiser_as_it_was(tmp_path: Path) -> None:
    backbone = open_backbone("FLUX.1 dev")
    before = {name: value.clone() for name, value in backbone.denoiser.state_dict().items()}
    imported(fused(*FUSED[0])[0], backbone, tmp_path)
    with pytest.raises(ValueError, match="which the base has no layer for"):
        imported(kohya(open_backbone("SD 1.x"))[0], backbone, tmp_path)
    after = backbone.denoiser.state_dict()
    assert before.keys() == after.keys() == tiny("FLUX.1 dev").transformer.state_dict().keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


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
