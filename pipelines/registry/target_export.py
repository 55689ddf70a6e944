"""A target distribution leaves for other tools: the adapters, and the prompts that draw them."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fairgen.adapters import load_adapter
from fairgen.attributes import adapter_name
from fairgen.gate import decide
from fairgen.indicator import TargetDistribution
from pipelines.files import check_out
from pipelines.recipe import Recipe
from pipelines.registry.exchange import base_config, base_family, registered_members
from pipelines.registry.local_server import tracking_server
from pipelines.registry.versions import Registry

if TYPE_CHECKING:
    from fairgen.adapters import Adapter
    from fairgen.exchange import Sampling, ToolFamily

DRAWING_TOOLS = ("a1111", "comfyui", "forge")
_LORAS = {"a1111": "models/Lora", "forge": "models/Lora", "comfyui": "models/loras"}
_SAMPLERS = {  # a recipe's scheduler -> ComfyUI's sampler and schedule
    "own": ("euler", "normal"),
    "ddim": ("ddim", "ddim_uniform"),
    "dpm-solver++": ("dpmpp_2m", "normal"),
    "euler": ("euler", "normal"),
    "euler-ancestral": ("euler_ancestral", "normal"),
    "lcm": ("lcm", "sgm_uniform"),
}


@dataclass(frozen=True)
class TargetRequest:
    """What is drawn elsewhere: sets of adapters, shares, pictures, a prompt, for which tool."""

    attributes: tuple[str, ...]
    fairness: Mapping[str, object] | None
    num_images: int
    prompt: str
    tool: str
    seed: int
    candidate: bool


def export_target(recipe: Recipe, request: TargetRequest, out: Path, home: Path) -> Path:
    """Write the adapters of sets with what draws them in the asked shares; return the folder.

    For A1111 and Forge that is a line for the dynamic-prompts extension, and a prompt a picture in
    the exact quota; for ComfyUI a prompt a picture, in the form of its API. Raises ValueError for
    what cannot be drawn as asked; nothing is written then.
    """
    check_out(out, empty="since prompts of before would count, too")
    target = _target(recipe, request)
    names = [
        adapter_name(attribute, category)
        for attribute in target.attributes
        for category in recipe.attribute(attribute).names
    ]
    with tracking_server(home) as uri, tempfile.TemporaryDirectory() as scratch:
        registry = Registry(uri, recipe)
        known = registered_members(registry, request.candidate)
        if missing := sorted(set(names) - set(known)):
            kind = "candidates" if request.candidate else "champions"
            raise ValueError(f"set: got {missing}, allowed are the {kind} {sorted(known)}")
        adapters = [load_adapter(registry.download(known[n], Path(scratch))) for n in names]
    family = base_family(recipe, adapters[0])
    family.form(request.tool)
    files = _prompts(recipe, request, target, family, adapters[0].metadata.denoiser_name)
    _write(adapters, request, family, files, out)
    return out


def _target(recipe: Recipe, request: TargetRequest) -> TargetDistribution:
    """Return the distribution over the asked sets; what no share is given for is uniform."""
    if request.tool not in DRAWING_TOOLS:
        raise ValueError(
            f"for: got {request.tool!r}, allowed for a set are {list(DRAWING_TOOLS)}: others draw "
            "nothing from prompts"
        )
    for name in request.attributes:
        recipe.attribute(name)
    if len(set(request.attributes)) != len(request.attributes):
        raise ValueError(f"set: got {list(request.attributes)}, allowed is each attribute once")
    given = dict(request.fairness or {})
    if odd := sorted(set(given) - set(request.attributes)):
        raise ValueError(f"fairness: got {odd}, allowed are the sets {list(request.attributes)}")
    shares = {name: given.get(name, "uniform") for name in request.attributes}
    target = TargetDistribution.from_request(shares, recipe.attributes)
    gate = decide(request.prompt, recipe.attributes)
    if kept := [name for name in target.attributes if name not in gate.free]:
        raise ValueError(
            f"prompt: got {request.prompt!r}, which leaves {kept[0]} alone: {gate.why(kept[0])}; "
            "allowed is a prompt of one person that names none of the categories"
        )
    return target


def _prompts(
    recipe: Recipe,
    request: TargetRequest,
    target: TargetDistribution,
    family: "ToolFamily",
    denoiser_name: str,
) -> dict[str, str]:
    """Return file's name -> text: what draws the target, and how to use it."""
    from fairgen.exchange import comfyui_prompt, drawn_adapters, dynamic_prompt, tagged_prompt

    drawn = drawn_adapters(target, request.num_images, request.seed)
    if request.tool != "comfyui":
        lines = [tagged_prompt(request.prompt, adapters) for adapters in drawn]
        return {
            "dynamic-prompt.txt": dynamic_prompt(request.prompt, target) + "\n",
            "prompts.txt": "\n".join(lines) + "\n",
            "README.txt": _README_WEBUI.format(loras=_LORAS[request.tool], n=len(drawn)),
        }
    sampling = _sampling(recipe, family, denoiser_name)
    files = {}
    for index, adapters in enumerate(drawn):
        seed, prefix = request.seed + index, f"fairgen/{index:04d}-{'-'.join(adapters)}"
        nodes = comfyui_prompt(family.workflow, request.prompt, adapters, seed, prefix, sampling)
        files[f"prompts/{index:04d}.json"] = json.dumps(nodes, indent=2) + "\n"
    files["README.txt"] = _README_COMFYUI.format(
        loras=_LORAS["comfyui"], n=len(drawn), base=sampling.base
    )
    return files


def _sampling(recipe: Recipe, family: "ToolFamily", denoiser_name: str) -> "Sampling":
    from fairgen.exchange import Sampling

    generation = recipe.generation
    sampler, schedule = _SAMPLERS[generation.scheduler]
    return Sampling(
        base=f"{Path(recipe.base).name}.safetensors",
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        size_px=generation.size_px or _native_size_px(recipe, denoiser_name) or family.size_px,
        sampler=sampler,
        schedule=schedule,
    )


def _native_size_px(recipe: Recipe, denoiser_name: str) -> int:
    """Return the side of the pictures that the base was made for, 0 where its config says none."""
    from diffusers import AutoencoderKL

    sample_size = base_config(recipe, AutoencoderKL, denoiser_name).get("sample_size")
    levels = len(base_config(recipe, AutoencoderKL, "vae")["block_out_channels"])
    return sample_size * 2 ** (levels - 1) if isinstance(sample_size, int) else 0


def _write(
    adapters: "Sequence[Adapter]",
    request: TargetRequest,
    family: "ToolFamily",
    files: Mapping[str, str],
    out: Path,
) -> None:
    from fairgen.exchange import export_for

    for adapter in adapters:
        export_for(adapter, request.tool, out / "loras", family)
    for name, text in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text)


_README_WEBUI = """\
Pictures in a prescribed distribution, without FairGen's endpoint.

1. Copy the files of loras/ to {loras} and refresh the list of LoRAs.
2. prompts.txt has one prompt a picture, {n} in the exact quota: the script "Prompts from file or
   textbox" takes it.
3. dynamic-prompt.txt has one line for the extension sd-dynamic-prompts: each picture draws its
   adapters by a coin of the asked shares, so that the counts of a few pictures differ from them.

The tool puts a LoRA on both branches of the guidance, FairGen only on the one with the prompt, and
looks at no prompt: use other prompts only if they show one person and name none of the categories.
"""
_README_COMFYUI = """\
Pictures in a prescribed distribution, without FairGen's endpoint.

1. Copy the files of loras/ to {loras}.
2. prompts/ has one prompt a picture, {n} in the exact quota, in the form of ComfyUI's API. They
   name the base model {base}, and text encoders and codec by their usual files where the base does
   not hold them: rename yours, or change the names in the prompts.
3. Queue them all:
   for f in prompts/*.json; do
     curl -s http://127.0.0.1:8188/prompt -H 'Content-Type: application/json' \\
       -d "{{\\"prompt\\": $(cat "$f")}}"
   done

ComfyUI puts a LoRA on both branches of the guidance, FairGen only on the one with the prompt.
"""
