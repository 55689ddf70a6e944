"""LoRAs of others beside the adapters: pictures in few steps are those of plain diffusers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler, LCMScheduler
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from pipelines.recipe import Recipe, check_models, load_learner, load_painter, load_recipe
from pipelines.recipe.loras import add_loras
from pipelines.recipe.sections import LoraConfig as LoraFile
from tests.fairgen.backbones.test_families import adapters_of, options_of
from tests.families import SIZE_PX, tiny
from tests.painted import PROMPT, as_numbers, assert_same, ours

FAMILIES = ("SD 1.x", "SDXL", "SD 3", "FLUX.1 dev")
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "proj_in", "proj_out", "add_k_proj"]


def save_lora(family: str, folder: Path, seed: int = 0) -> Path:
    """Save a LoRA on all kinds of layers of a family's denoiser; return its file."""
    pipe = tiny(family)
    denoiser, name = load_backbone(pipe).denoiser, load_backbone(pipe).denoiser_name
    torch.manual_seed(seed)
    denoiser.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=TARGETS))
    for parameter_name, parameter in denoiser.named_parameters():
        if "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.3)
    layers = {f"{name}_lora_layers": get_peft_model_state_dict(denoiser)}
    type(pipe).save_lora_weights(folder, **layers)
    return folder / "pytorch_lora_weights.safetensors"


@pytest.fixture
def recipe_of(make_recipe: Callable[..., Path], tmp_path: Path) -> Callable[..., Recipe]:
    """A function that returns a recipe of a family's tiny pipeline."""

    def made(family: str, **generation: object) -> Recipe:
        base = tmp_path / "base"
        tiny(family).save_pretrained(base)
        own = {"scheduler": "own", "size_px": SIZE_PX}
        return load_recipe(make_recipe(tmp_path, "few", generation=own | generation), str(base))

    return made


def with_lora(pipe: DiffusionPipeline, file: Path, scale: float) -> DiffusionPipeline:
    """Return a pipeline as plain diffusers loads a LoRA."""
    pipe.load_lora_weights(file.parent, weight_name=file.name, adapter_name="few")
    pipe.set_adapters(["few"], [scale])
    return pipe


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_with_a_lora_paints_as_plain_diffusers_beside_the_adapters(
    family: str, recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    file = save_lora(family, tmp_path)
    recipe = recipe_of(family, loras=[{"path": str(file), "scale": 0.7}])
    check_models(recipe)
    backbone = load_painter(recipe)
    assert backbone.fingerprint == fingerprint(load_learner(recipe).denoiser), "of the bare base"

    plain = with_lora(tiny(family), file, 0.7)
    options = options_of(plain)
    engine = Engine(backbone)
    for adapter in adapters_of(family):
        engine.load(adapter.name, adapter)
    jobs = [ImageJob(PROMPT, 3, gates, 4, 4.0) for gates in ({}, {"gender-man": 1.0})]
    found = [as_numbers(image) for image in engine.paint(jobs)]
    fair = FairGenPipeline(plain, adapters_of(family))
    bare = fair(PROMPT, 1, "off", seed=3, **options).images[0]
    man = fair(PROMPT, 1, {"gender": {"man": 1.0}}, seed=3, **options).images[0]
    assert_same(as_numbers(bare), found[0])
    assert_same(as_numbers(man), found[1])
    assert np.abs(found[0] - ours(tiny(family), seed=3)).max() > 2, "the LoRA has an effect"


@pytest.mark.parametrize("family", ["SD 1.x", "SDXL"])
def test_each_layer_has_its_own_alpha(family: str, tmp_path: Path) -> None:
    layers = load_file(save_lora(family, tmp_path))
    kohya, folded = convert_state_dict_to_kohya(layers), dict(layers)
    for index, key in enumerate(sorted(k for k in layers if k.endswith("lora_B.weight"))):
        alpha = float(1 + index % 4)
        layer = key.removeprefix("unet.").removesuffix(".lora_B.weight").replace(".", "_")
        assert f"lora_unet_{layer}.alpha" in kohya
        kohya[f"lora_unet_{layer}.alpha"] = torch.tensor(alpha)
        folded[key] = layers[key] * alpha / 2
    painted = []
    for name, state in (("kohya", kohya), ("folded", folded)):
        save_file(state, tmp_path / f"{name}.safetensors")
        pipe = tiny(family)
        add_loras(pipe, [LoraFile(path=str(tmp_path / f"{name}.safetensors"))], fuse=True)
        painted.append(ours(pipe, guidance_scale=1.0))
    assert_same(*painted)


@pytest.mark.parametrize(
    ("scheduler", "spacing", "guidance_scale"), [("lcm", "own", 1.0), ("euler", "trailing", 0.0)]
)
def test_few_steps_are_those_of_the_scheduler_that_a_lora_wants(
    scheduler: str,
    spacing: str,
    guidance_scale: float,
    recipe_of: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    file = save_lora("SD 1.x", tmp_path)
    recipe = recipe_of(
        "SD 1.x", loras=[{"path": str(file)}], scheduler=scheduler, timestep_spacing=spacing,
        steps=4, guidance_scale=guidance_scale,
    )  # fmt: skip
    (found,) = Engine(load_painter(recipe)).paint(
        [ImageJob(PROMPT, 5, **vars(recipe.generation.sampling))]
    )
    plain = with_lora(tiny("SD 1.x"), file, 1.0)
    saved = plain.scheduler.config
    plain.scheduler = (
        LCMScheduler.from_config(saved)
        if scheduler == "lcm"
        else EulerDiscreteScheduler.from_config(saved, timestep_spacing="trailing")
    )
    generator = torch.Generator().manual_seed(5)
    options = options_of(plain, guidance_scale)
    assert_same(as_numbers(found), as_numbers(plain(PROMPT, generator=generator, **options)[0][0]))


def test_weights_that_are_cast_layer_by_layer_take_no_lora(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    generation = {"loras": [{"path": "a.safetensors"}]}
    path = make_recipe(
        tmp_path, "cast", generation=generation, loading={"quantization": "fp8-casting"}
    )
    with pytest.raises(ValueError, match=r"generation\.loras: got some with quantization 'fp8-cas"):
        load_recipe(path)


def test_a_lora_that_is_not_all_of_the_base_is_refused_by_name(
    recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    other, part = save_lora("SDXL", tmp_path / "sdxl"), tmp_path / "part.safetensors"
    own = load_file(save_lora("SD 1.x", tmp_path / "own"))
    save_file(own | {key.replace("down_blocks.0", "down_blocks.9"): value.clone()
                     for key, value in own.items()}, part)  # fmt: skip
    other_layers = {key.replace("mid_block", "no_block").replace("down_blocks", "no_blocks")
                       .replace("up_blocks", "none"): v for key, v in own.items()}  # fmt: skip
    nothing = tmp_path / "nothing.safetensors"
    save_file(other_layers, nothing)
    for file in (other, part, nothing):
        recipe = recipe_of("SD 1.x", loras=[{"path": str(file)}])
        with pytest.raises(ValueError, match=r"^generation\.loras: got .*this base model"):
            load_painter(recipe)


@pytest.mark.parametrize("name", ["gone.safetensors", "lora.bin", "folder"])
def test_what_is_no_file_of_a_lora_is_refused_before_anything_is_loaded(
    name: str, recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    (tmp_path / "lora.bin").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    recipe = recipe_of("SD 1.x", loras=[{"path": str(tmp_path / name)}])
    with pytest.raises(ValueError, match=r"^generation\.loras\[0\]\.path: got .*a \.safetensors"):
        check_models(recipe)


def test_a_spacing_that_a_scheduler_has_not_is_refused(recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of("FLUX.1 dev", timestep_spacing="trailing")
    with pytest.raises(ValueError, match=r"^generation\.timestep_spacing: got 'trailing', allowed"):
        load_painter(recipe)


def test_a_pipeline_into_which_diffusers_loads_no_lora_says_so(
    recipe_of: Callable[..., Recipe], tmp_path: Path
) -> None:
    file = save_lora("SD 1.x", tmp_path)
    recipe = recipe_of("PixArt-sigma", loras=[{"path": str(file)}])
    with pytest.raises(ValueError, match="diffusers loads no LoRA into a PixArtSigmaPipeline"):
        load_painter(recipe)
