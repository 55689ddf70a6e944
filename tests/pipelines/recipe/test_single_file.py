"""A base that is one file: what is in it is read from it, the rest from its configuration."""

import re
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from fairgen.backbones import load_backbone
from pipelines.recipe import check_models, load_recipe
from pipelines.recipe.loading import LoadingConfig, load_pipeline
from tests.families import as_the_engine, tiny
from tests.families.single_file import FORMS, latent_diffusion, save_in_one_file


def picture(pipe: DiffusionPipeline) -> torch.Tensor:
    """Return a picture, 1 x 3 x H x W."""
    pipe.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(3)
    options = as_the_engine(pipe, 2)
    return pipe(prompt="a doctor", generator=noise, output_type="pt", **options).images


@pytest.mark.parametrize("family", FORMS)
def test_a_file_paints_as_the_pipeline_that_it_is_of(family: str, tmp_path: Path) -> None:
    pipe, file, config = save_in_one_file(family, tmp_path)
    recipe = load_recipe("portraits", base=str(file))
    loading = LoadingConfig(config=str(config))
    check_models(recipe.model_copy(update={"loading": loading}))
    loaded = load_pipeline("base", str(file), loading)
    assert (picture(loaded) - picture(pipe)).abs().max() < 1e-5
    assert load_backbone(loaded).fingerprint == load_backbone(pipe).fingerprint


@pytest.mark.parametrize("family", ["SD 1.x", "Z-Image"])
def test_the_denoiser_is_the_file_s_also_where_the_configuration_holds_another(
    family: str, tmp_path: Path
) -> None:
    pipe, file, config = save_in_one_file(family, tmp_path)
    tiny(family, seed=1).save_pretrained(config)
    loaded = load_pipeline("base", str(file), LoadingConfig(config=str(config)))
    assert load_backbone(loaded).fingerprint == load_backbone(pipe).fingerprint


def test_parts_that_are_sharded_or_of_a_variant_are_found_beside_the_file(tmp_path: Path) -> None:
    pipe, file, config = save_in_one_file("FLUX.1 dev", tmp_path)
    for part in ("text_encoder", "text_encoder_2", "vae"):
        for weights in (config / part).glob("*.safetensors"):
            weights.unlink()
        getattr(pipe, part).save_pretrained(config / part, variant="fp16", max_shard_size="5KB")
    loaded = load_pipeline("base", str(file), LoadingConfig(config=str(config)))
    assert torch.equal(picture(loaded), picture(pipe))


def refused(file: Path, config: Path | None, message: str) -> None:
    """See a file refused with a message, by the check before anything is loaded and as it loads."""
    loading = LoadingConfig(config=None if config is None else str(config))
    recipe = load_recipe("portraits", base=str(file)).model_copy(update={"loading": loading})
    with pytest.raises(ValueError, match=message):
        check_models(recipe)
    with pytest.raises(ValueError, match=message):
        load_pipeline(str(file), str(file), loading)


def test_what_no_file_of_a_model_is_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    _, file, config = save_in_one_file("SD 1.x", tmp_path)
    refused(
        file, None, r"^base: got .*, one file, which holds no configuration; needed is loading.c"
    )
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"\x80\x04")
    refused(
        pickle, config, r"^base: got .*, a pickle, which is never read; allowed is a \.safetens"
    )
    refused(tmp_path / "none.safetensors", config, r"^base: got .*, which is no file")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:100])
    refused(broken, config, r"^base: got .*, which is no \.safetensors file: ")
    lora = tmp_path / "lora.safetensors"
    save_file({"unet.x.lora_A.weight": torch.ones(1, 1)}, lora)
    refused(lora, config, r"^base: got .*, which holds a LoRA and no model; allowed is the model ")
    refused(file, tmp_path, r"^loading.config: got .*, a folder without model_index.json; allowed")
    refused(file, tmp_path / "none", r"^loading.config: got .*, which is no folder; allowed are ")


@pytest.mark.parametrize(
    "beside", ["scale_weight", "scale_input", "weight_scale", "comfy_quant", "weight.absmax"]
)
def test_weights_with_scales_beside_them_are_refused(beside: str, tmp_path: Path) -> None:
    """diffusers leaves the scales out, with a line in a log: all weights would be wrong."""
    _, file, config = save_in_one_file("SDXL", tmp_path)
    tensors = load_file(file)
    name = next(n for n in tensors if n.endswith("attn2.to_k.weight"))
    scale = tensors[name].abs().max() / 448
    tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
    tensors[f"{name.removesuffix('weight')}{beside}"] = scale.reshape(1)
    save_file(tensors, file)
    refused(file, config, rf"^base: got .*, whose weights are quantised, with .*{beside}'; allowed")


def test_fp8_without_scales_is_read_as_it_is(tmp_path: Path) -> None:
    pipe, file, config = save_in_one_file("Z-Image", tmp_path)
    tensors = {
        name: tensor.to(torch.float8_e4m3fn) if tensor.ndim == 2 else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file)
    loaded = load_pipeline("base", str(file), LoadingConfig(config=str(config)))
    for one, other in zip(
        loaded.transformer.parameters(), pipe.transformer.parameters(), strict=True
    ):
        assert (one - other).abs().max() <= other.abs().max() / 16


@pytest.mark.parametrize(
    ("family", "part"),
    [("Z-Image", "text_encoder"), ("Z-Image", "vae"), ("FLUX.1 dev", "text_encoder_2")],
)
def test_a_part_that_is_in_neither_place_is_named(family: str, part: str, tmp_path: Path) -> None:
    _, file, config = save_in_one_file(family, tmp_path)
    for weights in (config / part).glob("*.safetensors"):
        weights.unlink()
    refused(
        file, config, rf"^base: got .*, which holds no {part}, and neither does .*, the folder "
    )


def test_a_file_of_another_structure_or_with_holes_is_refused(tmp_path: Path) -> None:
    _, file, config = save_in_one_file("SD 1.x", tmp_path)
    held, other = latent_diffusion(tiny("SD 1.x")), tmp_path / "other"
    tiny("SDXL").save_pretrained(other)

    def see_refused(file: Path, config: Path, reason: str) -> None:
        message = r"^base: got 'base', which cannot be loaded: its tensors are not those of the "
        with pytest.raises(ValueError, match=message + rf"configuration of '.*'{reason}"):
            load_pipeline("base", str(file), LoadingConfig(config=str(config)))

    def without(*words: str) -> Path:
        found = {k: v.contiguous() for k, v in held.items() if not all(w in k for w in words)}
        assert len(found) < len(held)
        save_file(found, tmp_path / "holes.safetensors")
        return tmp_path / "holes.safetensors"

    see_refused(file, other, ": it lacks 'label_emb")
    see_refused(without("model.diffusion_model."), config, ": Failed to load UNet2DConditionModel")
    see_refused(without("model.diffusion_model.", "attn2"), config, "$")
    see_refused(without("first_stage_model.", "conv_in"), config, "$")
    see_refused(without("cond_stage", "q_proj.w"), config, ": its text_encoder lacks encoder.layer")


@pytest.mark.parametrize("family", ["SD 1.x", "Z-Image"])
@pytest.mark.parametrize("other", ["SDXL", "FLUX.1 dev", "AuraFlow"])
def test_a_file_is_refused_with_the_configuration_of_another_family(
    family: str, other: str, tmp_path: Path
) -> None:
    _, file, _ = save_in_one_file(family, tmp_path)
    tiny(other).save_pretrained(tmp_path / "other")
    message = r"^base: got 'base', which cannot be loaded: its tensors are not those of the config"
    with pytest.raises(ValueError, match=message):
        load_pipeline("base", str(file), LoadingConfig(config=str(tmp_path / "other")))


def test_a_tensor_of_another_shape_than_the_configuration_s_is_named(tmp_path: Path) -> None:
    _, file, config = save_in_one_file("SDXL", tmp_path)
    tensors = load_file(file)
    name = next(n for n in tensors if n.endswith("attn2.to_k.weight"))
    tensors[name] = tensors[name][:, :-1].contiguous()
    save_file(tensors, file)
    reason = r"its tensors are not those .*: \S*attn2.to_k.weight expected shape .*\[\d+, \d+\]\)$"
    with pytest.raises(ValueError, match=reason):
        load_pipeline("base", str(file), LoadingConfig(config=str(config)))


def test_a_configuration_belongs_to_a_file(tmp_path: Path) -> None:
    tiny("SD 1.x").save_pretrained(tmp_path)
    loading = LoadingConfig(config=str(tmp_path))
    recipe = load_recipe("portraits", base=str(tmp_path)).model_copy(update={"loading": loading})
    with pytest.raises(ValueError, match=re.escape("loading.config: got")):
        check_models(recipe)
    with pytest.raises(ValueError, match=re.escape("loading.config: got")):
        load_pipeline("base", str(tmp_path), loading)
