"""LoRA files as other tools write them, and what they do to each layer."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fairgen.adapters import Adapter
from fairgen.backbones import Backbone
from fairgen.base_model import fingerprint
from fairgen.exchange import import_adapter
from tests.tiny import GENDER

Tensors = dict[str, Tensor]
Expected = dict[str, Tensor]  # module -> alpha / rank * up @ down
RANK = 4
DRAW = torch.Generator()


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW)


def underscored(module: str) -> str:
    return "lora_unet_" + module.replace(".", "_")


def file_of(
    backbone: Backbone,
    name: Callable[[str], str],
    halves: tuple[str, str] = ("lora_A.weight", "lora_B.weight"),
    alphas: Callable[[int], float] | None = None,
    ranks: Callable[[int], int] = lambda index: RANK,
) -> tuple[Tensors, Expected]:
    """Return a LoRA on keys and values under a tool's names, and what it does to each layer."""
    DRAW.manual_seed(0)
    tensors, expected = {}, {}
    for index, module in enumerate(backbone.projections("kv")):
        layer, rank = backbone.denoiser.get_submodule(module), ranks(index)
        down, up = randn(rank, layer.in_features), randn(layer.out_features, rank)
        tensors |= {f"{name(module)}{halves[0]}": down, f"{name(module)}{halves[1]}": up}
        scale = 1.0
        if alphas is not None:
            tensors[f"{name(module).removesuffix('.')}.alpha"] = torch.tensor(alphas(index))
            scale = alphas(index) / rank
        expected[module] = scale * up @ down
    return tensors, expected


def kohya(backbone: Backbone, **options: object) -> tuple[Tensors, Expected]:
    halves = ("lora_down.weight", "lora_up.weight")
    options = {"alphas": lambda index: 2.0} | options
    return file_of(backbone, lambda m: underscored(m) + ".", halves, **options)


def imported(
    tensors: Tensors, backbone: Backbone, folder: Path, header: dict[str, str] | None = None
) -> Adapter:
    file = folder / "lora.safetensors"
    save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata=header)
    return import_adapter(file, backbone, GENDER, "woman", fingerprint(backbone.denoiser))


def check(found: Adapter, expected: Expected) -> None:
    assert found.directions.keys() == expected.keys()
    for module, (down, up) in found.directions.items():
        torch.testing.assert_close(up @ down, expected[module], atol=1e-4, rtol=1e-4)


def original(module: str) -> str:
    """Return SDXL's original name of a layer of the tiny denoiser, which has one layer a block."""
    block, _, rest = module.partition(".attentions.")
    index, _, inner = rest.partition(".")
    position = {
        "down_blocks.0": "input_blocks_1_1",
        "mid_block": "middle_block_1",
        "up_blocks.1": f"output_blocks_{2 + int(index)}_1",
    }[block]
    return f"lora_unet_{position}_{inner.replace('.', '_')}"


def fused(spell: str, halves: tuple[str, str], alpha: float | None) -> tuple[Tensors, Expected]:
    """Return a LoRA on the text stream's fused projections, under a tool's names."""
    DRAW.manual_seed(1)
    tensors, expected = {}, {}
    for block in (0, 1):
        down, up = randn(RANK, 32), randn(96, RANK)
        layer = spell.format(block)
        tensors |= {f"{layer}.{halves[0]}": down, f"{layer}.{halves[1]}": up}
        if alpha is not None:
            tensors[f"{layer}.alpha"] = torch.tensor(alpha)
        for letter, part in zip("qkv", up.chunk(3), strict=True):
            module = f"transformer_blocks.{block}.attn.add_{letter}_proj"
            expected[module] = (1.0 if alpha is None else alpha / RANK) * part @ down
    return tensors, expected


FUSED = [
    ("lora_unet_double_blocks_{}_txt_attn_qkv", ("lora_down.weight", "lora_up.weight"), 3.0),
    ("lora_unet_double_blocks_{}_txt_attn_qkv", ("lora_down.weight", "lora_up.weight"), None),
    ("double_blocks.{}.processor.qkv_lora2", ("down.weight", "up.weight"), None),
    ("diffusion_model.double_blocks.{}.processor.qkv_lora2", ("down.weight", "up.weight"), None),
    ("diffusion_model.double_blocks.{}.txt_attn.qkv", ("lora_A.weight", "lora_B.weight"), None),
    ("double_blocks.{}.txt_attn.qkv", ("lora_down.weight", "lora_up.weight"), 2.0),
]
