"""Adapters in the forms of other tools; converters are the libraries' own."""

from pathlib import Path
from typing import Literal, get_args

from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from safetensors.torch import save_file

from fairgen.adapters import Adapter, lora_state_dict, save_adapter

Form = Literal["diffusers", "peft", "kohya"]
FORMS: tuple[Form, ...] = get_args(Form)


def export_adapter(adapter: Adapter, form: Form, folder: Path) -> Path:
    """Write an adapter in a form, and return what another tool is given: a folder, or for kohya's
    a file.

    "diffusers" is read by `pipe.load_lora_weights`, "peft" by `PeftModel.from_pretrained` on the
    denoiser, "kohya" by ComfyUI and A1111. Raises ValueError for kohya's form of a transformer,
    for which no library writes it; ComfyUI reads those in diffusers' form.
    """
    if form == "diffusers":
        save_adapter(adapter, folder)
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    if form == "peft":
        config = LoraConfig(
            r=adapter.metadata.rank,
            lora_alpha=adapter.metadata.alpha,
            target_modules=sorted(adapter.directions),
            inference_mode=True,
        )
        config.save_pretrained(str(folder))
        weights = lora_state_dict(adapter.directions, "base_model.model.")
        save_file(weights, folder / "adapter_model.safetensors")
        return folder
    if adapter.metadata.denoiser_name != "unet":
        raise ValueError(
            "format: got 'kohya', which no library writes for a transformer; allowed are "
            "'diffusers', which ComfyUI reads, and 'peft'"
        )
    weights = convert_state_dict_to_kohya(lora_state_dict(adapter.directions, "unet."))
    header = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(adapter.metadata.rank),
        "ss_network_alpha": str(adapter.metadata.alpha),
        "fairgen": adapter.metadata.model_dump_json(),
    }
    file = folder / f"{adapter.name}.safetensors"
    save_file({key: value.contiguous() for key, value in weights.items()}, file, metadata=header)
    return file
