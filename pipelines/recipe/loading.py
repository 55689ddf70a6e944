"""The base model's pipeline, loaded from a folder or the hub as a recipe says."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from pipelines.recipe.folders import check_saved, located, resolve_path
from pipelines.recipe.parts import whole_encoders
from pipelines.recipe.quantization import (
    Quantization,
    cast_by_layer,
    check_library,
    check_quantization,
    denoiser_of_gguf,
    quantization_config,
    quantized_as_loaded,
)
from pipelines.recipe.sections import Section
from pipelines.recipe.single_file import check_single_file, is_single_file, load_single_file
from pipelines.recipe.weights import check_unscaled, missing_in, variant_of

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline


class LoadingConfig(Section):
    """How the base model is loaded.

    `revision` pins a model of the hub to a commit; with `local_files_only` the hub is never called.
    A base that is one file has no configuration: `config` has it, a saved pipeline of the same
    architecture, a folder or a model of the hub, and the parts that are not in the file.
    `variant` is that of the weights' files, such as "fp16"; where a folder holds only one, that is
    found by itself.
    With `siblings` adapters are accepted that were trained on a model of the same structure, such
    as the one from which this one was fine-tuned. The slicings and `cpu_offload` are diffusers':
    they need less GPU memory and more time; with the latter, parts of the model stay in main memory
    until they run. `quantization` keeps the denoiser's weights in fewer bits than it computes in;
    `gguf_file` reads them from such a file instead. Weights in fp8 by "fp8-casting" serve, but do
    not train. `dtype` "auto" is float32; where a CPU is measured to be faster in bfloat16, the
    denoiser paints and trains in it, as it does wherever weights are stored so.
    """

    revision: str | None = None
    variant: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    local_files_only: bool = False
    siblings: bool = False
    attention_slicing: bool = False
    vae_slicing: bool = False
    cpu_offload: bool = False
    quantization: Quantization | None = None
    gguf_file: str | None = None
    config: str | None = Field(default=None, exclude_if=lambda value: value is None)

    @property
    def config_path(self) -> str | None:
        """Where `config` loads from: an absolute folder, or a hub id as it stands."""
        return None if self.config is None else located(self.config)

    @property
    def stored_dtype(self) -> Literal["float32", "bfloat16", "float16"]:
        """The precision that the weights are loaded in."""
        return "float32" if self.dtype == "auto" else self.dtype

    @model_validator(mode="after")
    def _one_format(self) -> "LoadingConfig":
        if self.gguf_file and self.config:
            raise ValueError(
                f"gguf_file: got {self.gguf_file!r} and config {self.config!r}, of a base that is "
                "one file; allowed is one file"
            )
        if self.gguf_file and self.quantization:
            raise ValueError(
                f"gguf_file: got {self.gguf_file!r} and quantization {self.quantization!r}, "
                "allowed is one of them"
            )
        return self


def check_loading(loading: LoadingConfig) -> None:
    """Raise ValueError for what cannot be had here, before anything is loaded."""
    if loading.gguf_file:
        if not resolve_path(loading.gguf_file).is_file():
            raise ValueError(f"loading.gguf_file: got {loading.gguf_file!r}, which is no file")
        check_library("loading.gguf_file", "gguf")
    if loading.quantization:
        check_quantization(loading.quantization)


def check_form(base: str, path: str, loading: LoadingConfig) -> None:
    """Raise ValueError for a base at `path` that is neither a file with a configuration beside it
    nor a folder, nor can be a model of the hub.
    """
    if is_single_file(path):
        check_single_file(base, Path(path), loading.config_path)
        return
    if loading.config is not None:
        raise ValueError(
            f"loading.config: got {loading.config!r}, allowed is none, since the base is no file"
        )
    if not Path(path).is_dir():
        check_saved("base", base)


def load_pipeline(base: str, path: str, loading: LoadingConfig) -> "DiffusionPipeline":
    """Return the pipeline at `path`, a folder, a file or a hub id, silent, on the GPU if there is
    one.

    `base` is the recipe's name of it. Raises ValueError for a model that does not exist, lacks
    files, wants a package that is not installed, or would have to come from the hub while the hub
    is out of reach.
    """
    import torch
    from diffusers.utils import logging

    logging.disable_progress_bar()
    check_form(base, path, loading)
    check_loading(loading)
    saved = loading.config_path or path
    variant = loading.variant
    if Path(saved).is_dir():
        named = (
            f"loading.config: got {loading.config!r}" if loading.config else f"base: got {base!r}"
        )
        variant = variant_of(named, Path(saved), variant)
        check_unscaled(named, Path(saved))
    dtype = getattr(torch, loading.stored_dtype)
    try:
        pipe = _loaded(path, variant, dtype, loading)
        if missing := missing_in(pipe):
            raise ValueError(missing)
    except (ImportError, OSError, ValueError) as error:
        lines = [line.strip() for line in str(error).strip().splitlines()]
        reason = " ".join(lines if lines[0].endswith(":") else lines[:1])
        raise ValueError(f"base: got {base!r}, which cannot be loaded: {reason}") from error
    if loading.quantization == "fp8-casting":
        cast_by_layer(pipe, dtype)
    pipe.set_progress_bar_config(disable=True)
    if loading.attention_slicing:
        pipe.enable_attention_slicing()
    if loading.vae_slicing:
        pipe.vae.enable_slicing()
    if torch.cuda.is_available() and loading.cpu_offload:
        pipe.enable_model_cpu_offload()
        return pipe
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def _loaded(
    path: str, variant: str | None, dtype: "torch.dtype", loading: LoadingConfig
) -> "DiffusionPipeline":
    """Return the pipeline at a path as diffusers loads it, its denoiser stored as is asked for."""
    from diffusers import DiffusionPipeline

    source = {"revision": loading.revision, "local_files_only": loading.local_files_only}
    quantized = None
    if loading.quantization:
        saved = loading.config_path or path
        quantized = quantization_config(loading.quantization, dtype, saved, source)
    if loading.config_path is not None:
        return load_single_file(Path(path), loading.config_path, variant, dtype, source, quantized)
    parts = whole_encoders(Path(path), variant, {"dtype": dtype, **source})
    if loading.gguf_file:
        parts |= denoiser_of_gguf(path, resolve_path(loading.gguf_file), dtype, source)
    elif quantized:
        parts |= quantized_as_loaded(path, quantized, source)
    pipe: DiffusionPipeline = DiffusionPipeline.from_pretrained(
        path, dtype=dtype, variant=variant, use_safetensors=True, **source, **parts
    )
    return pipe
