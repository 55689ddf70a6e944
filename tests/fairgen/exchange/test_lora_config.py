"""A LoRA's config, in a folder of PEFT or in a file's header, says how strong each layer is."""

import json
from pathlib import Path

import pytest
import torch
from diffusers.utils import recurse_remove_peft_layers
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file

from fairgen.backbones import Backbone
from fairgen.base_model import fingerprint
from fairgen.exchange import import_adapter
from tests.fairgen.backbones.test_families import denoised, open_backbone
from tests.fairgen.exchange.lora_files import (
    check,
    file_of,
    imported,
)
from tests.fairgen.exchange.test_round_trip import effect
from tests.tiny import GENDER


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
