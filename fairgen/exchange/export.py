"""Adapters in the forms of other tools; converters are the libraries' own where there are any."""

import tempfile
from pathlib import Path

import torch
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor

from fairgen.adapters import Adapter, lora_state_dict, save_adapter
from fairgen.exchange.families import Form, ToolFamily
from fairgen.exchange.fused_names import fused
from fairgen.files import written_whole

_HEADER = "fairgen"  # where a file says what it was learnt as


def export_adapter(
    adapter: Adapter, form: Form, folder: Path, family: ToolFamily | None = None
) -> Path:
    """Write an adapter in a form, and return what another tool is given: a folder, or for kohya's
    a file.

    "diffusers" is read by `pipe.load_lora_weights`, "peft" by `PeftModel.from_pretrained` on the
    denoiser, "kohya" by ComfyUI, A1111, Forge and InvokeAI, which have to be told the `family`.
    Raises ValueError for kohya's form without a family, or of one that has none.
    """
    if form == "diffusers":
        save_adapter(adapter, folder)
        return folder
    if form == "kohya":
        if family is None:
            raise ValueError("family: got None, allowed for kohya's form is the base's family")
        return _write_kohya(adapter, folder, family)
    folder.mkdir(parents=True, exist_ok=True)
    config = LoraConfig(
        r=adapter.metadata.rank,
        lora_alpha=adapter.metadata.alpha,
        target_modules=sorted(adapter.directions),
        inference_mode=True,
    )
    directions = lora_state_dict(adapter.directions, "base_model.model.")
    with written_whole(folder / "adapter_model.safetensors") as partial:
        header = {"format": "pt", _HEADER: adapter.metadata.model_dump_json()}
        save_file(directions, partial, metadata=header)
    config.save_pretrained(str(folder))
    return folder


def export_for(adapter: Adapter, tool: str, folder: Path, family: ToolFamily) -> Path:
    """Write an adapter as a tool takes it, and return what the tool is given.

    All but diffusers take one file, which has the adapter's name. Raises ValueError for a tool
    that knows no LoRA of the family, and writes nothing then.
    """
    form = family.form(tool)
    if tool == "diffusers" or form == "kohya":
        return export_adapter(adapter, form, folder, family)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        return save_adapter(adapter, Path(scratch)).replace(folder / f"{adapter.name}.safetensors")


def _write_kohya(adapter: Adapter, folder: Path, family: ToolFamily) -> Path:
    weights = _kohya(adapter, family)
    header = {
        **family.header,
        "modelspec.title": adapter.name,
        "ss_output_name": adapter.name,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(adapter.metadata.rank),
        "ss_network_alpha": str(adapter.metadata.alpha),
        _HEADER: adapter.metadata.model_dump_json(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{adapter.name}.safetensors"
    with written_whole(file) as partial:
        save_file({key: t.contiguous() for key, t in weights.items()}, partial, metadata=header)
    return file


def _kohya(adapter: Adapter, family: ToolFamily) -> dict[str, Tensor]:
    if adapter.metadata.denoiser_name == "unet":
        return convert_state_dict_to_kohya(lora_state_dict(adapter.directions, "unet."))
    if not family.text_attention:
        raise ValueError(
            f"format: got 'kohya', which there is none of for {family.name}; allowed are "
            "'diffusers', which ComfyUI reads, and 'peft'"
        )
    tensors: dict[str, Tensor] = {}
    for name, (down, up) in fused(adapter.directions, family.text_attention).items():
        layer, rank = f"lora_unet_{name}", down.shape[0]
        tensors |= {
            f"{layer}.lora_down.weight": down.float().cpu(),
            f"{layer}.lora_up.weight": up.float().cpu(),
            f"{layer}.alpha": torch.tensor(float(rank)),  # strength 1, as alpha equals rank in ours
        }
    return tensors
