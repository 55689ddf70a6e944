"""Adapters reach the passes that read the prompt, all of their layers, and no other pass, whatever
the pipeline is told to do: a table of options by family, filled by `make families`.

Each pass of the denoiser is computed again by a bare copy of it, and by a copy with the adapter
merged into its weights: a row equals the one or the other.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, cpu_offload_with_hook
from diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    ControlNetModel,
    DiffusionPipeline,
    FluxControlNetModel,
    FluxControlNetPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from diffusers.hooks import FirstBlockCacheConfig, apply_group_offloading
from PIL import Image
from torch import Tensor, nn

from fairgen.adapters import Adapter, AdapterMetadata, save_adapter
from fairgen.backbones import load_backbone
from fairgen.bank import LayerNotReached
from fairgen.base_model import fingerprint
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.engine import Engine
from fairgen.pipeline import FairGenPipeline
from tests.families import SIZE_PX, tiny
from tests.tiny import GENDER

PROMPT = "a photo of a doctor"
WOMAN = {"gender": {"woman": 1.0}}
STEPS = 4
LEARNING = DiscoveryConfig(num_updates=2, num_rows=4, num_steps=2)
UNETS = ("SD 1.x", "SDXL")
GUIDED = (*UNETS, "PixArt-sigma", "SD 3", "SD 3.5")
ALL = (*GUIDED, "FLUX.1 dev")
WITH_LORA = tuple(family for family in ALL if "PixArt" not in family)


@dataclass
class Case:
    """A pipeline set up in some way, how it is called, and what its passes are to read: "u" for
    unconditional and "c" for conditional, a letter for both of its pictures.
    """

    pipe: DiffusionPipeline
    options: dict[str, Any]
    passes: list[str]
    lora: Adapter | None = None  # of the user, on the pipeline beside ours
    load_later: Callable[[], None] = lambda: None  # once our adapters are on it


def adapters_for(pipe: DiffusionPipeline, rank: int = 2, size: float = 0.5) -> list[Adapter]:
    """Return random adapters of visible size, one a category, on all projections."""
    backbone, adapters = load_backbone(pipe), []
    for seed, category in enumerate(GENDER.categories):
        draw = torch.Generator().manual_seed(seed)
        directions = {}
        for path in backbone.projections("qkvo"):
            layer = backbone.denoiser.get_submodule(path)
            layer = getattr(layer, "base_layer", layer)
            down = torch.randn(rank, layer.in_features, generator=draw) / layer.in_features**0.5
            directions[path] = down, torch.randn(layer.out_features, rank, generator=draw) * size
        metadata = AdapterMetadata(
            attribute="gender", category=category.name, word=category.word, rank=rank, alpha=rank,
            eta=1.0, base_fingerprint=fingerprint(backbone.denoiser), projections="qkvo",
            recipe_hash="0123", denoiser_name=backbone.denoiser_name,
        )  # fmt: skip
        adapters.append(Adapter(metadata, directions))
    return adapters


def call_options(family: str, guidance_scale: float = 4.0) -> dict[str, Any]:
    options = {"num_inference_steps": STEPS, "height": SIZE_PX, "width": SIZE_PX}
    return options | {"guidance_scale": guidance_scale}


def usual_passes(family: str) -> list[str]:
    return ["c" if "FLUX" in family else "uc"] * STEPS


def as_usual(family: str) -> Case:
    return Case(tiny(family), call_options(family), usual_passes(family))


def without_guidance(family: str) -> Case:
    return Case(tiny(family), call_options(family, 1.0), ["c"] * STEPS)


def negative_prompt(family: str) -> Case:
    case = as_usual(family)
    case.options["negative_prompt"] = "a car"
    return case


def true_guidance(family: str) -> Case:
    """A negative prompt with a pass of its own beside the embedded guidance."""
    case = negative_prompt(family)
    case.options["true_cfg_scale"] = 3.0
    case.passes = ["c", "u"] * STEPS
    return case


def skip_layer_guidance(family: str) -> Case:
    case = as_usual(family)
    case.options |= {"skip_guidance_layers": [0], "skip_layer_guidance_stop": 1.0,
                     "skip_layer_guidance_start": 0.0}  # fmt: skip
    case.passes = ["uc"] + ["uc", "c"] * (STEPS - 1)
    return case


def perturbed_attention(family: str, guidance_scale: float = 4.0) -> Case:
    layers = "mid" if family in UNETS else "blocks.1"
    pipe = AutoPipelineForText2Image.from_pipe(
        tiny(family), enable_pag=True, pag_applied_layers=[layers]
    )
    pipe.set_progress_bar_config(disable=True)
    letters = "ucc" if guidance_scale > 1 else "cc"
    return Case(pipe, call_options(family, guidance_scale), [letters] * STEPS)


def perturbed_attention_alone(family: str) -> Case:
    return perturbed_attention(family, 1.0)


def guidance_that_ends(family: str) -> Case:
    """The documented callback that turns guidance off half-way."""
    case, inputs = as_usual(family), ["prompt_embeds"]
    if family == "SDXL":
        inputs += ["add_text_embeds", "add_time_ids"]
    if "SD 3" in family:
        inputs += ["pooled_prompt_embeds"]

    def end(pipe: Any, index: int, _: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if index + 1 != STEPS // 2:
            return {}
        pipe._guidance_scale = 0.0
        return {name: tensors[name].chunk(2)[-1] for name in inputs}

    case.options |= {"callback_on_step_end": end, "callback_on_step_end_tensor_inputs": inputs}
    case.passes = ["uc"] * (STEPS // 2) + ["c"] * (STEPS // 2)
    return case


def embedded_prompt(family: str) -> Case:
    case = as_usual(family)
    names = {
        "SD 1.x": ("prompt_embeds", "negative_prompt_embeds"),
        "SDXL": ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
                 "negative_pooled_prompt_embeds"),
        "PixArt-sigma": ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds",
                         "negative_prompt_attention_mask"),
        "SD 3": ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
                   "negative_pooled_prompt_embeds"),
        "FLUX.1 dev": ("prompt_embeds", "pooled_prompt_embeds"),
    }[family.replace("3.5", "3")]  # fmt: skip
    encode: Any = case.pipe.encode_prompt
    with torch.no_grad():
        if family == "SD 1.x":
            encoded = encode(PROMPT, "cpu", 1, True)
        elif family == "PixArt-sigma":
            encoded = encode(PROMPT, True)
        elif family == "SDXL":
            encoded = encode(PROMPT, do_classifier_free_guidance=True)
        else:
            encoded = encode(*([PROMPT] + [None] * (2 if "SD 3" in family else 1)))
    case.options |= dict(zip(names, encoded, strict=False))
    case.options["prompt_embeds"] = case.options["prompt_embeds"] * 1.1  # a weighted prompt
    case.options["prompt"] = None
    if family == "PixArt-sigma":
        case.options["negative_prompt"] = None
    return case


def _picture() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 255, (SIZE_PX, SIZE_PX, 3), np.uint8)
    return Image.fromarray(values)


def image_to_image(family: str) -> Case:
    case = as_usual(family)
    case.pipe = AutoPipelineForImage2Image.from_pipe(case.pipe)
    case.options |= {"image": _picture(), "strength": 0.5}
    case.passes = usual_passes(family)[: STEPS // 2]
    return case


def inpainting(family: str) -> Case:
    case = as_usual(family)
    case.pipe = AutoPipelineForInpainting.from_pipe(case.pipe)
    mask = Image.new("L", (SIZE_PX, SIZE_PX), 255)
    case.options |= {"image": _picture(), "mask_image": mask, "strength": 1.0}
    return case


def controlnet(family: str) -> Case:
    case = as_usual(family)
    pipe, parts = case.pipe, dict(case.pipe.components)
    torch.manual_seed(5)
    kinds: dict[str, tuple[Callable[[], nn.Module], type[DiffusionPipeline]]] = {
        "SD 1.x": (lambda: ControlNetModel.from_unet(pipe.unet,
                                                     conditioning_embedding_out_channels=(4, 8)),
                   StableDiffusionControlNetPipeline),
        "SDXL": (lambda: ControlNetModel.from_unet(pipe.unet,
                                                   conditioning_embedding_out_channels=(4, 8)),
                 StableDiffusionXLControlNetPipeline),
        "SD 3": (lambda: SD3ControlNetModel.from_transformer(pipe.transformer, num_layers=1,
                                                             num_extra_conditioning_channels=0),
                 StableDiffusion3ControlNetPipeline),
        "FLUX.1 dev": (lambda: FluxControlNetModel(
                           **{name: pipe.transformer.config[name] for name in (
                               "in_channels", "attention_head_dim", "num_attention_heads",
                               "joint_attention_dim", "pooled_projection_dim", "guidance_embeds",
                               "axes_dims_rope")}, num_layers=1, num_single_layers=1),
                       FluxControlNetPipeline),
    }  # fmt: skip
    make, kind = kinds[family.replace("3.5", "3")]
    if family == "SD 1.x":
        parts["requires_safety_checker"] = False
    case.pipe = kind(**parts, controlnet=make().eval())
    case.pipe.set_progress_bar_config(disable=True)
    name = "image" if family in UNETS else "control_image"
    case.options[name] = _picture()
    return case


def lora_after(family: str) -> Case:
    """A LoRA that the user loads into the pipeline that ours are on already."""
    case = as_usual(family)
    case.lora = adapters_for(case.pipe, size=0.2)[1]
    pipe: Any = case.pipe

    def load() -> None:
        with TemporaryDirectory() as folder:
            save_adapter(case.lora, Path(folder))
            pipe.load_lora_weights(folder)

    case.load_later = load
    return case


def lora_before(family: str) -> Case:
    case = lora_after(family)
    case.load_later()
    case.load_later = lambda: None
    return case


def compiled_in_place(family: str) -> Case:
    case = as_usual(family)
    denoiser = load_backbone(case.pipe).denoiser
    for parameter in denoiser.parameters():
        parameter.requires_grad_(False)
    denoiser.compile(backend="eager")
    return case


def compiled_wrapper(family: str) -> Case:
    case = as_usual(family)
    backbone = load_backbone(case.pipe)
    compiled = torch.compile(backbone.denoiser.requires_grad_(False), backend="eager")
    setattr(case.pipe, backbone.denoiser_name, compiled)
    return case


def compiled_blocks(family: str) -> Case:
    case = as_usual(family)
    denoiser = load_backbone(case.pipe).denoiser.requires_grad_(False)
    denoiser.compile_repeated_blocks(backend="eager", fullgraph=True)
    return case


def fused_projections(family: str) -> Case:
    case = as_usual(family)
    load_backbone(case.pipe).denoiser.fuse_qkv_projections()
    return case


def group_offload(family: str) -> Case:
    case = as_usual(family)
    apply_group_offloading(
        load_backbone(case.pipe).denoiser, onload_device=torch.device("cpu"),
        offload_device=torch.device("cpu"), offload_type="leaf_level",
    )  # fmt: skip
    return case


def model_offload(family: str) -> Case:
    """A denoiser that comes to its device for its pass, as `enable_model_cpu_offload` leaves it."""
    case = as_usual(family)
    cpu_offload_with_hook(load_backbone(case.pipe).denoiser, execution_device="cpu")
    return case


def sequential_offload(family: str) -> Case:
    """Weights on no device until a layer runs, as `enable_sequential_cpu_offload` leaves them."""
    case = as_usual(family)
    cpu_offload(load_backbone(case.pipe).denoiser, execution_device="cpu")
    return case


OPTIONS: dict[str, tuple[Callable[[str], Case], tuple[str, ...]]] = {
    "guidance": (as_usual, ALL),
    "no guidance": (without_guidance, ALL),
    "negative prompt": (negative_prompt, GUIDED),
    "true CFG": (true_guidance, ("FLUX.1 dev",)),
    "skip-layer guidance": (skip_layer_guidance, ("SD 3.5",)),
    "perturbed attention (PAG)": (perturbed_attention, (*UNETS, "PixArt-sigma", "SD 3")),
    "PAG without guidance": (perturbed_attention_alone, (*UNETS, "PixArt-sigma", "SD 3")),
    "guidance that ends half-way": (guidance_that_ends, (*UNETS, "SD 3", "SD 3.5")),
    "embedded prompt": (embedded_prompt, ALL),
    "image to image": (image_to_image, WITH_LORA),
    "inpainting": (inpainting, (*UNETS, "FLUX.1 dev")),
    "ControlNet": (controlnet, WITH_LORA),
    "`compile()`": (compiled_in_place, ALL),
    "`torch.compile(...)`": (compiled_wrapper, ALL),
    "`compile_repeated_blocks`": (compiled_blocks, (*UNETS, "FLUX.1 dev")),
    "`fuse_qkv_projections`": (fused_projections, (*UNETS, "PixArt-sigma", "SD 3", "FLUX.1 dev")),
    "another LoRA, before": (lora_before, WITH_LORA),
    "another LoRA, after": (lora_after, WITH_LORA),
    "model offload": (model_offload, ALL),
    "group offload": (group_offload, ALL),
    "sequential offload": (sequential_offload, ALL),
}
CELLS = [  # the first family of each option is fast, the others run with `make families`
    pytest.param(option, family, marks=[pytest.mark.full] if index else [])
    for option, (_, families) in OPTIONS.items()
    for index, family in enumerate(families)
]


class Passes:
    """What a denoiser was given and what it returned, pass by pass."""

    def __init__(self, denoiser: nn.Module) -> None:
        self.seen: list[tuple[tuple[Any, ...], dict[str, Any], Tensor, dict[str, Any]]] = []
        self._denoiser = denoiser
        self.handle = denoiser.register_forward_hook(self._keep, with_kwargs=True)

    def _keep(self, denoiser: Any, args: Any, options: Any, output: Any) -> None:
        processors = dict(denoiser.attn_processors)
        self.seen.append((args, options, output[0].detach().clone(), processors))


def merged_copy(pipe: DiffusionPipeline, adapters: Sequence[Adapter]) -> Any:
    """Return a copy of the denoiser with adapters merged into its weights."""
    merged = copy.deepcopy(load_backbone(pipe).denoiser)
    with torch.no_grad():
        for adapter in adapters:
            for path, (down, up) in adapter.directions.items():
                merged.get_submodule(path).weight += up @ down
    return merged


@pytest.mark.cell("options")
@pytest.mark.parametrize(("option", "family"), CELLS)
def test_adapters_reach_what_reads_the_prompt_and_nothing_else(option: str, family: str) -> None:
    plain = tiny(family)
    adapters = adapters_for(plain)
    make, _ = OPTIONS[option]
    case = make(family)
    beside = [case.lora] if case.lora else []
    bare, merged = merged_copy(plain, beside), merged_copy(plain, [*beside, adapters[0]])
    options = dict(case.options)
    prompt = options.pop("prompt", PROMPT)
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    own = {"prompt": prompt} if prompt else {}
    call = load_backbone(case.pipe).call_options(2, own | options)
    expected = case.pipe(generator=generators, **call).images if not beside else None
    with FairGenPipeline(case.pipe, adapters) as fair:
        case.load_later()
        off = fair(prompt, 2, "off", **options)
        passes = Passes(load_backbone(case.pipe).denoiser)
        on = fair(prompt, 2, WOMAN, **options)
        passes.handle.remove()
        again = fair(prompt, 2, "off", **options)
    for one, other, later, moved in zip(
        expected or off.images, off.images, again.images, on.images, strict=True
    ):
        assert one.tobytes() == other.tobytes() == later.tobytes() != moved.tobytes()
    assert [set(record.adapters) for record in on.records] == [{"gender-woman"}] * 2
    assert len(passes.seen) == len(case.passes)
    for letters, (args, given, output, processors) in zip(case.passes, passes.seen, strict=True):
        assert len(output) == 2 * len(letters)
        found = {}
        for letter, model in (("u", bare), ("c", merged)):
            if option != "`fuse_qkv_projections`":
                model.set_attn_processor(dict(processors))
            with torch.no_grad():
                found[letter] = model(*args, **given)[0]
        for index, letter in enumerate(letters):
            rows = slice(2 * index, 2 * index + 2)
            torch.testing.assert_close(output[rows], found[letter][rows], atol=1e-4, rtol=1e-4)
            if letter == "c":
                assert (output[rows] - found["u"][rows]).abs().max() > 1e-3


@pytest.mark.cell("options", "refused")
@pytest.mark.parametrize(("option", "family"), [("`enable_cache`", "FLUX.1 dev")])
def test_a_cache_that_passes_over_blocks_is_refused(option: str, family: str) -> None:
    pipe = tiny(family)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=10.0))
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        fair(PROMPT, 1, "off", **call_options(family))
        with pytest.raises(LayerNotReached, match="a cache passes over blocks; call `disable_cac"):
            fair(PROMPT, 1, WOMAN, **call_options(family))


def test_an_attention_that_goes_past_a_projection_is_refused() -> None:
    pipe = tiny("SD 1.x")

    class OwnValues:
        """An attention that takes the keys for values."""

        def __call__(
            self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: Any
        ) -> Tensor:
            keys = attn.to_k(encoder_hidden_states).mean(1, keepdim=True)
            return attn.to_out[0](attn.to_q(hidden_states) + keys)

    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        pipe.unet.mid_block.attentions[0].transformer_blocks[0].attn2.set_processor(OwnValues())
        with pytest.raises(LayerNotReached, match=r"1 of \d+ .*goes past it \(OwnValues\)"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))


def test_a_denoiser_that_was_exchanged_is_refused() -> None:
    pipe = tiny("SD 1.x")
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        pipe.unet = tiny("SD 1.x", seed=1).unet
        with pytest.raises(LayerNotReached, match="was it exchanged"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))


def test_a_prompt_that_a_callback_exchanges_is_refused() -> None:
    pipe = tiny("SD 1.x")

    def exchange(*_: Any) -> dict[str, Tensor]:
        return {"prompt_embeds": _[3]["prompt_embeds"] * 2}

    inputs = {"callback_on_step_end": exchange,
              "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}  # fmt: skip
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        fair(PROMPT, 1, "off", **call_options("SD 1.x"), **inputs)
        with pytest.raises(ValueError, match="reads an embedding that the pipeline has not encod"):
            fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"), **inputs)
        fair(PROMPT, 1, WOMAN, **call_options("SD 1.x"))  # and nothing is left behind


@pytest.mark.parametrize("family", ["SD 1.x", "FLUX.1 dev"])
def test_a_negative_prompt_that_is_the_prompt_itself(family: str) -> None:
    pipe = tiny(family)
    options = {**call_options(family), "negative_prompt": PROMPT}
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        if family == "FLUX.1 dev":  # a pass each, which nothing tells apart
            with pytest.raises(ValueError, match="negative_prompt: got the prompt itself"):
                fair(PROMPT, 1, WOMAN, **options, true_cfg_scale=2.0)
            return
        passes = Passes(pipe.unet)
        fair(PROMPT, 2, WOMAN, **options)
        for _, _, output, _ in passes.seen[:1]:
            assert (output[:2] - output[2:]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_images_per_prompt": 2}, "num_images_per_prompt: allowed is 'num_images'"),
        ({"generator": None}, "generator: allowed is 'seed'"),
        ({"prompt_embeds": torch.zeros(2, 4, 16)}, "prompt_embeds: got 2 rows, allowed is 1"),
        ({"prompt_embeds": torch.zeros(1, 4, 16)}, "prompt: got str with prompt_embeds"),
    ],
)
def test_options_that_contradict_ours_are_refused(options: dict[str, Any], message: str) -> None:
    pipe = tiny("SD 1.x")
    with (
        FairGenPipeline(pipe, adapters_for(pipe)) as fair,
        pytest.raises(ValueError, match=message),
    ):
        fair(PROMPT, 2, WOMAN, **call_options("SD 1.x"), **options)


@pytest.mark.parametrize("family", ["SD 1.x", "PixArt-sigma"])
def test_what_the_engine_does_not_paint_is_refused_at_its_start(family: str) -> None:
    guided = perturbed_attention(family).pipe
    with pytest.raises(ValueError, match="allowed is it without perturbed guidance"):
        Engine(load_backbone(guided))


def test_a_denoiser_made_for_inpainting_learns_and_paints_by_its_pipeline_only() -> None:
    pipe = tiny("SD 1.x")
    torch.manual_seed(3)
    pipe.unet = type(pipe.unet).from_config({**pipe.unet.config, "in_channels": 9}).eval()
    pipe = AutoPipelineForInpainting.from_pipe(pipe)
    backbone = load_backbone(pipe)
    for start in (Engine, lambda b: Discovery(b, GENDER, ("doctor",), ("a {subject}",), LEARNING)):
        with pytest.raises(ValueError, match=r"latent_channels: got 4, allowed is 9"):
            start(backbone)
    mask = Image.new("L", (SIZE_PX, SIZE_PX), 255)
    options = call_options("SD 1.x") | {"image": _picture(), "mask_image": mask}
    with FairGenPipeline(pipe, adapters_for(pipe)) as fair:
        off = fair(PROMPT, 1, "off", **options).images[0]
        assert fair(PROMPT, 1, WOMAN, **options).images[0].tobytes() != off.tobytes()
