"""A base model whose weights are one file, the form in which most fine-tunes are passed on.

Such a file holds no configuration: a saved pipeline of the same architecture, a folder or a model
of the hub, has it, and the parts that the file lacks.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipelines.recipe.folders import check_saved
from pipelines.recipe.parts import class_of, load_part, whole_encoders
from pipelines.recipe.weights import (
    has_weights,
    is_part,
    missing_in,
    parts_of,
    scale_in,
    tensor_names,
)

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

_SUFFIX = ".safetensors"
_PICKLES = (".ckpt", ".pt", ".pth", ".bin")
_DENOISERS = ("unet", "transformer")
# what a file's tensors are named by, as diffusers reads them; of any other class it holds none
_NAMED = {
    "AutoencoderKL": ("first_stage_model.", "vae."),
    "CLIPTextModel": ("cond_stage_model.", "conditioner.embedders.0.", "text_encoders.clip_l."),
    "CLIPTextModelWithProjection": ("conditioner.embedders.1.", "text_encoders.clip_"),
    "T5EncoderModel": ("text_encoders.t5xxl.transformer.",),
}
_WITHOUT = ("Scheduler", "Tokenizer", "Processor", "Extractor")  # classes that have no weights
_MISFIT = "Cannot load  because "  # diffusers' words before a tensor that has another shape
_OPTIONAL = "safety_checker"


def is_single_file(path: str) -> bool:
    """Return whether a base is a file, or is meant to be one."""
    given = Path(path)
    return given.is_file() or (given.suffix in (_SUFFIX, *_PICKLES) and not given.is_dir())


def check_single_file(base: str, file: Path, config: str | None) -> None:
    """Raise ValueError for a file that is no base model's, and where the configuration that it
    needs, or a part, is in neither place.

    `base` is the recipe's name of it; a `config` on the hub is not asked.
    """
    if file.suffix in _PICKLES:
        raise ValueError(
            f"base: got {base!r}, a pickle, which is never read; allowed is a {_SUFFIX} file, "
            "which `safetensors.torch.save_file` writes of what "
            "`torch.load(FILE, weights_only=True)` returns"
        )
    if not file.is_file():
        raise ValueError(f"base: got {base!r}, which is no file")
    if file.suffix != _SUFFIX:
        raise ValueError(f"base: got {base!r}, a file; allowed of those are {_SUFFIX} files")
    names = tensor_names("base", file)
    if any(".lora_" in name or ".lora." in name for name in names):
        raise ValueError(
            f"base: got {base!r}, which holds a LoRA and no model; allowed is the model that it is "
            "worn on, with the LoRA in generation.loras"
        )
    if scale := scale_in(names):
        raise ValueError(
            f"base: got {base!r}, whose weights are quantised, with scales beside them such as "
            f"{scale!r}; allowed are plain weights, fp8 without scales, and GGUF "
            "(loading.gguf_file)"
        )
    if config is None:
        raise ValueError(
            f"base: got {base!r}, one file, which holds no configuration; needed is "
            "loading.config: a folder that save_pretrained left of a pipeline of the same "
            "architecture, or such a model of the hub"
        )
    check_saved("loading.config", config)
    folder = Path(config)
    if not folder.is_dir():
        return
    lacking = [
        name
        for name in _parts_beside(parts_of(f"loading.config: got {config!r}", folder), names)
        if name != _OPTIONAL and not has_weights(folder / name)
    ]
    if lacking:
        raise ValueError(
            f"base: got {base!r}, which holds no {' and no '.join(lacking)}, and neither does "
            f"{config!r}, the folder of loading.config"
        )


def load_single_file(
    file: Path,
    config: str,
    variant: str | None,
    dtype: "torch.dtype",
    source: Mapping[str, Any],
    quantization: Any = None,
) -> "DiffusionPipeline":
    """Return the pipeline whose denoiser is in a file, its codec and encoders too where they are in
    it; `config` holds the rest, in a `variant`. `quantization` is diffusers' for the denoiser,
    which lies on the disk once more while it is quantised.

    Raises ValueError for a file that lacks weights of the denoiser.
    """
    import diffusers
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    index = dict(diffusers.DiffusionPipeline.load_config(config, **source))
    found = {name: part for name, part in index.items() if is_part(part)}
    denoiser = next(name for name in _DENOISERS if name in found)
    beside = _parts_beside(found, tensor_names("base", file))
    kind: Any = getattr(diffusers, index["_class_name"])
    options = {"dtype": dtype, **source}
    parts: dict[str, Any] = {}
    try:
        for name in {denoiser, "vae"} - set(beside):
            parts[name] = class_of(*found[name]).from_single_file(
                str(file), config=config, subfolder=name, **options
            )
        if hasattr(kind, "from_single_file"):
            for name in beside:
                if not _is_left_out(name, config):
                    parts[name] = load_part(config, name, found[name], variant, options)
            pipe = kind.from_single_file(str(file), config=config, **options, **parts)
        else:
            parts |= whole_encoders(Path(config), variant, options)
            pipe = kind.from_pretrained(
                config, variant=variant, use_safetensors=True, **options, **parts
            )
    except SingleFileComponentError as error:
        raise _not_of(config, str(error).partition("\n")[0]) from error
    except (LookupError, RuntimeError) as error:  # of what is renamed, parted or lacks numbers
        raise _not_of(config, f"it lacks {error}" if isinstance(error, KeyError) else "") from error
    except ValueError as error:
        _, is_misfit, name = str(error).partition(_MISFIT)
        if not is_misfit:
            raise
        raise _not_of(config, name.partition(". If")[0]) from error
    if missing := missing_in(pipe):
        raise _not_of(config, missing)
    if quantization is not None:
        quantized = _quantized(getattr(pipe, denoiser), quantization, dtype)
        pipe.register_modules(**{denoiser: quantized})
    return cast("DiffusionPipeline", pipe)


def _quantized(denoiser: Any, quantization: Any, dtype: "torch.dtype") -> Any:
    """Return a denoiser quantised as a folder's is: what is loaded from one file diffusers takes
    for quantised already.
    """
    with tempfile.TemporaryDirectory() as folder:
        denoiser.save_pretrained(folder)
        return type(denoiser).from_pretrained(folder, quantization_config=quantization, dtype=dtype)


def _is_left_out(part: str, config: str) -> bool:
    """Return whether a pipeline goes without a part of its configuration."""
    folder = Path(config)
    return part == _OPTIONAL and folder.is_dir() and not has_weights(folder / part)


def _not_of(config: str, reason: str) -> ValueError:
    what = f"its tensors are not those of the configuration of {config!r}"
    return ValueError(f"{what}: {reason}" if reason else what)


def _parts_beside(index: Mapping[str, list[str]], names: list[str]) -> list[str]:
    """Return the parts with weights of which a file with tensors of such names holds none."""
    return [
        part
        for part, (_, kind) in index.items()
        if not any(word in kind for word in _WITHOUT)
        and part not in _DENOISERS
        and not any(name.startswith(_NAMED.get(kind, ())) for name in names)
    ]
