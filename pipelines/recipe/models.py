"""The models that a recipe names: its base model and its judges, loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairgen.judging import Judge, JudgeConfig
from pipelines.recipe.folders import PROJECT_ROOT
from pipelines.recipe.loading import load_pipeline
from pipelines.recipe.loras import add_loras
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.sections import LoraConfig

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

    from fairgen.backbones import Backbone
    from fairgen.judging import JudgeConfusion

SCHEDULERS = {  # what `generation.scheduler` names
    "ddim": "DDIMScheduler",
    "dpm-solver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "lcm": "LCMScheduler",
}


def load_base(recipe: Recipe) -> "DiffusionPipeline":
    """Return the base model's pipeline as it was saved, silent, on the GPU if there is one.

    Raises ValueError where there is no such model, or not all of it.
    """
    return load_pipeline(recipe.base, recipe.base_path, recipe.loading)


def load_pipe(recipe: Recipe) -> "DiffusionPipeline":
    """Return the base model's pipeline with the scheduler that the recipe paints with, without its
    safety checker where the recipe turns it off.
    """
    import diffusers

    pipe, generation = load_base(recipe), recipe.generation
    if (name := SCHEDULERS.get(generation.scheduler)) is not None:
        saved = pipe.scheduler.config
        # DDIM's own default clips latents, which a configuration of another class never means
        clip = {"clip_sample": saved.get("clip_sample", False)} if name == "DDIMScheduler" else {}
        pipe.scheduler = getattr(diffusers, name).from_config(saved, **clip)
    if (spacing := generation.timestep_spacing) != "own":
        if "timestep_spacing" not in pipe.scheduler.config:
            raise ValueError(
                f"generation.timestep_spacing: got {spacing!r}, allowed is 'own' with "
                f"{type(pipe.scheduler).__name__}"
            )
        pipe.scheduler = pipe.scheduler.from_config(pipe.scheduler.config, timestep_spacing=spacing)
    if not recipe.generation.safety_checker and "safety_checker" in pipe.components:
        pipe.register_modules(safety_checker=None)
    return pipe


def load_painter(recipe: Recipe) -> "Backbone":
    """Return the base model as the recipe paints with it: with the LoRAs that it is given there, in
    the precision that is left open. Its fingerprint is that of the bare base.

    Raises ValueError for a LoRA that is none of this model.
    """
    from fairgen.backbones import pack_weights

    backbone = _in_its_precision(recipe, load_pipe(recipe), recipe.generation.loras)
    pack_weights((backbone.denoiser, backbone.codec.vae), backbone.device)
    return backbone


def load_learner(recipe: Recipe) -> "Backbone":
    """Return the base model as adapters are learnt on it, in the precision that is left open."""
    return _in_its_precision(recipe, load_base(recipe))


def _in_its_precision(
    recipe: Recipe, pipe: "DiffusionPipeline", loras: Sequence[LoraConfig] = ()
) -> "Backbone":
    """Return a pipeline's backbone, in bfloat16 where that is left to a CPU and faster on it."""
    from fairgen.backbones import compute_in_bfloat16_where_faster, load_backbone

    backbone = load_backbone(pipe, recipe.generation.size_px, recipe.generation.instruction)
    if loras:
        _ = backbone.fingerprint  # from here on the weights are others
        is_plain = recipe.loading.quantization is None and recipe.loading.gguf_file is None
        add_loras(pipe, loras, fuse=is_plain)
    if recipe.loading.dtype == "auto":
        compute_in_bfloat16_where_faster(backbone)
    return backbone


def load_judge(recipe: Recipe) -> Judge:
    """Return the judge. Raises ValueError when its weights are missing."""
    return _load(recipe, recipe.judge)


def load_second_judge(recipe: Recipe) -> Judge | None:
    """Return the judge that measures beside the first, if the recipe has one."""
    return _load(recipe, recipe.second_judge) if recipe.second_judge else None


def load_judge_confusion(recipe: Recipe, second: bool = False) -> "JudgeConfusion | None":
    """Return how the judge errs, or the second one; None where nobody has measured it.

    Raises ValueError for a file that cannot be used.
    """
    config = recipe.second_judge if second else recipe.judge
    return config.load_confusion(judge_root(config), recipe.attributes) if config else None


def _load(recipe: Recipe, config: JudgeConfig) -> Judge:
    concepts = (*recipe.concepts.train, *recipe.concepts.held_out)
    return config.load(judge_root(config), recipe.attributes, concepts)


def judge_root(config: JudgeConfig) -> Path:
    """Return the folder that a judge's relative paths are read from."""
    return Path() if config.path.exists() else PROJECT_ROOT
