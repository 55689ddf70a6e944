"""The denoiser's weights in fewer bits than they compute in, by the libraries of diffusers."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

Quantization = Literal[
    "bitsandbytes-4bit", "bitsandbytes-8bit", "torchao-int8", "torchao-fp8", "fp8-casting"
]
_LIBRARIES = ("bitsandbytes", "torchao")
_DENOISERS = ("transformer", "unet")
_READ_PAST = ("pooler",)  # a function of torch reads its weights, not its layers


def check_quantization(quantization: Quantization) -> None:
    """Raise ValueError where a quantization cannot be had here, with what can."""
    library = quantization.partition("-")[0]
    if library in _LIBRARIES:
        check_library(f"loading.quantization: got {quantization!r}", library)
    if library != "bitsandbytes":
        return
    import torch

    if not torch.cuda.is_available():
        others = [name for name in get_args(Quantization) if not name.startswith(library)]
        raise ValueError(
            f"loading.quantization: got {quantization!r}, which diffusers loads onto a GPU only; "
            f"allowed without one are {others}"
        )


def check_library(what: str, library: str) -> None:
    """Raise ValueError where a library is missing."""
    if find_spec(library) is None:
        raise ValueError(f"{what}, which needs `pip install {library}`")


def quantization_config(
    quantization: Quantization, dtype: "torch.dtype", path: str, source: Mapping[str, Any]
) -> Any:
    """Return diffusers' configuration of a quantization as weights are loaded, for the denoiser of
    the pipeline at `path`, but for what of it takes plain weights only; layers compute in `dtype`.
    None for one that is done once they are there. `source` says where the files come from.
    """
    import diffusers

    kind_of: Any = getattr(diffusers, _denoiser(path, source)[1], None)
    patterns = getattr(kind_of, "_skip_layerwise_casting_patterns", None) or ()
    plain = [part for part in _READ_PAST if part in patterns] or None
    match quantization:
        case "bitsandbytes-4bit":
            return diffusers.BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=dtype,
                llm_int8_skip_modules=plain,
            )
        case "bitsandbytes-8bit":
            return diffusers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=plain)
        case "torchao-int8" | "torchao-fp8":
            from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

            is_int8 = quantization == "torchao-int8"
            kind = Int8WeightOnlyConfig() if is_int8 else Float8WeightOnlyConfig()
            return diffusers.TorchAoConfig(kind, modules_to_not_convert=plain)
        case "fp8-casting":
            return None


def quantized_as_loaded(path: str, config: Any, source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `DiffusionPipeline.from_pretrained` is given beside a path, so that it quantises
    the denoiser by a configuration, and nothing else; `source` says where the files come from.
    """
    import diffusers

    name, _ = _denoiser(path, source)
    mapping = diffusers.PipelineQuantizationConfig(quant_mapping={name: config})
    return {"quantization_config": mapping}


def denoiser_of_gguf(
    path: str, file: Path, dtype: "torch.dtype", source: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a GGUF file's denoiser by its component name, as `from_pretrained` is given it."""
    import diffusers

    name, kind = _denoiser(path, source)
    denoiser = getattr(diffusers, kind).from_single_file(
        str(file),
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=dtype),
        config=path,
        subfolder=name,
        torch_dtype=dtype,
    )
    return {name: denoiser}


def cast_by_layer(pipe: "DiffusionPipeline", dtype: "torch.dtype") -> None:
    """Keep the denoiser's weights in fp8, each layer's in `dtype` while it computes."""
    import torch

    denoiser: Any = next(getattr(pipe, name) for name in _DENOISERS if hasattr(pipe, name))
    denoiser.enable_layerwise_casting(torch.float8_e4m3fn, dtype)


def _denoiser(path: str, source: Mapping[str, Any]) -> tuple[str, str]:
    """Return the component name and the class of a saved pipeline's denoiser."""
    from diffusers import DiffusionPipeline

    index = DiffusionPipeline.load_config(path, **source)
    name = next(name for name in _DENOISERS if name in index)
    return name, index[name][1]
