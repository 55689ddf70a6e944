"""The base model's pipeline, loaded from a folder or the hub as a recipe says."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.recipe.sections import Section

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


ALLOWED_BASES = (
    "allowed are a folder that save_pretrained left, and a model of the hub as owner/name"
)


class LoadingConfig(Section):
    """How the base model is loaded.

    `revision` pins a model of the hub to a commit; with `local_files_only` the hub is never called.
    With `siblings` adapters are accepted that were trained on a model of the same structure, such
    as the one from which this one was fine-tuned. The slicings and `cpu_offload` are diffusers':
    they need less GPU memory and more time; with the latter, parts of the model stay in main memory
    until they run.
    """

    revision: str | None = None
    variant: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    local_files_only: bool = False
    siblings: bool = False
    attention_slicing: bool = False
    vae_slicing: bool = False
    cpu_offload: bool = False


def load_pipeline(base: str, path: str, loading: LoadingConfig) -> "DiffusionPipeline":
    """Return the pipeline at `path`, a folder or a hub id, silent, on the GPU if there is one.

    `base` is the recipe's name of it. Raises ValueError for a model that does not exist, lacks
    files, or would have to come from the hub while the hub is out of reach.
    """
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    if not Path(path).is_dir() and path.count("/") != 1:
        raise ValueError(f"base: got {base!r}, which is no folder; {ALLOWED_BASES}")
    try:
        pipe = DiffusionPipeline.from_pretrained(
            path,
            dtype=getattr(torch, loading.dtype),
            revision=loading.revision,
            variant=loading.variant,
            local_files_only=loading.local_files_only,
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"base: got {base!r}, which cannot be loaded: {reason}") from error
    pipe.set_progress_bar_config(disable=True)
    if loading.attention_slicing:
        pipe.enable_attention_slicing()
    if loading.vae_slicing:
        pipe.vae.enable_slicing()
    if torch.cuda.is_available() and loading.cpu_offload:
        pipe.enable_model_cpu_offload()
        return pipe
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")
