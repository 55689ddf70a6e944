"""Adapters leave in other tools' forms and come back with the same effect on the denoiser."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from fairgen.adapters import Adapter
from fairgen.attributes import Attribute, Category
from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank
from fairgen.base_model import fingerprint
from fairgen.exchange import FORMS, ToolFamily, export_adapter, import_adapter, tool_family
from tests.fairgen.backbones.test_families import adapters_of, denoised, families, open_backbone
from tests.tiny import GENDER

Fit = Callable[[Path, Backbone], Adapter]


NO_KOHYA = (
    "PixArt", "SANA", "Z-Image", "FLUX.2", "AuraFlow", "Qwen-Image", "Krea 2", "Lumina 2",
    "Hunyuan", "Kandinsky", "HiDream", "Ideogram",
)  # fmt: skip


def imported(path: Path, backbone: Backbone) -> Adapter:
    return import_adapter(path, backbone, GENDER, "woman", fingerprint(backbone.denoiser))


def known_as(backbone: Backbone, adapter: Adapter) -> ToolFamily:
    return tool_family(type(backbone.pipe).__name__, adapter)


def effect(backbone: Backbone, adapter: Adapter) -> torch.Tensor:
    """Return what the denoiser predicts with the adapter on in every row."""
    bank = AdapterBank(backbone.denoiser, list(adapter.directions))
    bank.add("one", adapter.directions)
    with bank.gated(torch.ones(2, 1)):
        found = denoised(backbone)
    bank.close()
    return found


@pytest.mark.slow
@pytest.mark.cell("export")
@pytest.mark.cell("import")
@families
@pytest.mark.parametrize("form", FORMS)
def test_a_round_trip_keeps_the_effect(family: str, form: str, tmp_path: Path) -> None:
    (woman, _) = adapters_of(family)
    backbone = open_backbone(family)
    bare, expected = denoised(backbone), effect(backbone, woman)
    if form == "kohya" and family.startswith(NO_KOHYA):
        with pytest.raises(ValueError, match="got 'kohya', which there is none of for "):
            export_adapter(woman, form, tmp_path / "none", known_as(backbone, woman))
        assert not (tmp_path / "none").exists()
        return
    path = export_adapter(woman, form, tmp_path, known_as(backbone, woman))
    back = imported(path, backbone)
    assert (expected - bare).abs().max() > 1e-3
    torch.testing.assert_close(effect(backbone, back), expected, atol=1e-6, rtol=1e-6)
    assert back.metadata.denoiser_name == backbone.denoiser_name and back.metadata.eta is None
    assert torch.equal(denoised(backbone), bare)  # reading has left nothing behind
    assert fingerprint(backbone.denoiser) == back.metadata.base_fingerprint


@pytest.mark.cell("export")
@families
def test_peft_loads_its_form(family: str, tmp_path: Path) -> None:
    (woman, _) = adapters_of(family)
    backbone = open_backbone(family)
    expected = effect(backbone, woman)
    folder = export_adapter(woman, "peft", tmp_path, known_as(backbone, woman))
    PeftModel.from_pretrained(backbone.denoiser, str(folder))
    torch.testing.assert_close(denoised(backbone), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["SD 1.x", "SD 2.x", "SDXL", "FLUX.1 dev", "Kolors"])
def test_plain_diffusers_loads_kohya_s_form(family: str, tmp_path: Path) -> None:
    (woman, _) = adapters_of(family)
    backbone = open_backbone(family)
    expected = effect(backbone, woman)
    file = export_adapter(woman, "kohya", tmp_path, known_as(backbone, woman))
    assert all(key.startswith("lora_unet_") for key in load_file(file))
    backbone.pipe.load_lora_weights(tmp_path, weight_name=file.name)
    torch.testing.assert_close(denoised(backbone), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_an_adapter_of_ours_comes_back_as_the_category_that_it_was_learnt_as(
    form: str, tmp_path: Path
) -> None:
    (woman, _) = adapters_of("SD 1.x")
    backbone = open_backbone("SD 1.x")
    path = export_adapter(woman, form, tmp_path, known_as(backbone, woman))
    base = fingerprint(backbone.denoiser)
    message = r"got gender-woman, learnt from the word 'female', for gender-man; allowed is "
    with pytest.raises(ValueError, match=message):
        import_adapter(path, backbone, GENDER, "man", base)
    categories = (Category(name="feminine", word="female"), Category(name="other", word="male"))
    looks = Attribute(name="looks", categories=categories)
    assert import_adapter(path, backbone, looks, "feminine", base).name == "looks-feminine"
    reworded = Attribute(
        name="gender", categories=(Category(name="woman", word="feminine"), categories[1])
    )
    assert import_adapter(path, backbone, reworded, "woman", base).metadata.word == "feminine"


def kohya_file(
    path: Path, backbone: Backbone, alpha: float, layer: str = "attn2", rank: int = 4
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Write a LoRA as kohya's trainer and the paper's own code do; return what it holds."""
    held, tensors = {}, {}
    for name, module in backbone.denoiser.named_modules():
        if isinstance(module, torch.nn.Linear) and f"{layer}.to_" in name:
            key = f"lora_unet_{name.replace('.', '_')}"
            down, up = torch.randn(rank, module.in_features), torch.randn(module.out_features, rank)
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up,
                        f"{key}.alpha": torch.tensor(alpha)}  # fmt: skip
            held[name] = down, up
    save_file(tensors, path)
    return held


def test_the_paper_s_own_code_s_files_come_in_with_their_scale(tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    held = kohya_file(tmp_path / "female.safetensors", backbone, alpha=1.0)
    found = imported(tmp_path / "female.safetensors", backbone)
    assert found.directions.keys() == held.keys() and found.metadata.projections == "qkvo"
    for path, (down, up) in held.items():
        ours = found.directions[path][1] @ found.directions[path][0]
        torch.testing.assert_close(ours, up @ down / 4, atol=1e-5, rtol=1e-5)


def test_what_is_no_adapter_of_the_model_is_refused(tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    pickle, file = tmp_path / "lora.bin", tmp_path / "lora.safetensors"
    torch.save({"a": torch.zeros(1)}, pickle)
    with pytest.raises(ValueError, match=r"got a \.bin, allowed is \.safetensors only"):
        imported(pickle, backbone)
    with pytest.raises(ValueError, match=r"holds no pytorch_lora_weights\.safetensors"):
        imported(tmp_path, backbone)
    file.write_bytes(b"\x00" * 64)
    with pytest.raises(ValueError, match="corrupted, no readable safetensors"):
        imported(file, backbone)
    save_file({"text_encoder.layers.0.q_proj.lora_A.weight": torch.zeros(1, 16)}, file)
    with pytest.raises(ValueError, match="got directions of a text encoder"):
        imported(file, backbone)
    save_file({"something.else": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"lora\.safetensors"):
        imported(file, backbone)
    kohya_file(file, backbone, alpha=4.0, layer="attn1")
    with pytest.raises(ValueError, match=r"got directions on \[.*attn1.*allowed are those of the"):
        imported(file, backbone)
    kohya_file(file, open_backbone("SDXL"), alpha=4.0)
    with pytest.raises(ValueError, match=r"lora\.safetensors"):
        imported(file, backbone)
    bare = denoised(open_backbone("SD 1.x"))
    assert torch.equal(denoised(backbone), bare)  # nothing of what was refused is left


def test_layers_of_several_ranks_become_one_rank(tmp_path: Path) -> None:
    backbone = open_backbone("SD 1.x")
    held = kohya_file(tmp_path / "lora.safetensors", backbone, alpha=2.0, rank=2)
    tensors = load_file(tmp_path / "lora.safetensors")
    first = next(iter(held))
    key = f"lora_unet_{first.replace('.', '_')}"
    tensors[f"{key}.lora_down.weight"] = held[first][0][:1].clone()
    tensors[f"{key}.lora_up.weight"] = held[first][1][:, :1].clone()
    save_file(tensors, tmp_path / "ranks.safetensors")
    found = imported(tmp_path / "ranks.safetensors", backbone)
    assert {down.shape[0] for down, _ in found.directions.values()} == {2}
    down, up = found.directions[first]
    torch.testing.assert_close(up @ down, 2 * held[first][1][:, :1] @ held[first][0][:1])


def test_a_lora_on_more_of_a_fused_layer_than_its_projections_is_refused(tmp_path: Path) -> None:
    backbone = open_backbone("FLUX.2 klein")
    (path,) = [p for p in backbone.projections("v") if p.startswith("single_transformer_blocks.0")]
    layer = backbone.denoiser.get_submodule(path)
    down, up = torch.randn(2, layer.in_features), torch.randn(layer.out_features, 2)
    tensors = {f"transformer.{path}.lora_A.weight": down, f"transformer.{path}.lora_B.weight": up}
    save_file(tensors, tmp_path / "all.safetensors")
    with pytest.raises(ValueError, match=r"all\.safetensors.* on .*change other columns of its"):
        imported(tmp_path / "all.safetensors", backbone)
    up[3 * backbone.denoiser.inner_dim :] = 0  # the feed-forward's
    save_file(tensors, tmp_path / "text.safetensors")
    found = imported(tmp_path / "text.safetensors", backbone)
    assert found.metadata.projections == "qkv"
    torch.testing.assert_close(found.directions[path][1], up)
