"""The text stream of joint attention as other tools name it: queries, keys, values in one layer."""

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]
_MODULE = re.compile(r"transformer_blocks\.(\d+)\.attn\.(?:add_([qkv])_proj|(to_add_out))")
_NATIVE = re.compile(
    r"(?:lora_unet_|diffusion_model\.|model\.diffusion_model\.|transformer\.|)"
    r"(?:joint_blocks[._](?P<joint>\d+)[._](?P<stream>context|x)_block[._]attn"
    r"|double_blocks[._](?P<double>\d+)[._](?P<side>txt|img)_attn)[._](?P<kind>qkv|proj)"
)
_PARTS = {"context": "add_{}_proj", "txt": "add_{}_proj", "x": "to_{}", "img": "to_{}"}
_OUTPUTS = {"context": "to_add_out", "txt": "to_add_out", "x": "to_out.0", "img": "to_out.0"}


def fused(directions: Mapping[str, Pair], attention: str) -> dict[str, Pair]:
    """Return directions on the text stream under a tool's names; `attention` names a block's.

    Queries, keys and values of a block become one layer of three times the rank: its A is theirs,
    one below the other, its B has theirs on the diagonal. Where one of the three is missing, its
    part is zero. Raises ValueError for directions elsewhere.
    """
    blocks: dict[str, dict[str, Pair]] = defaultdict(dict)
    layers: dict[str, Pair] = {}
    for path, pair in directions.items():
        if not (match := _MODULE.fullmatch(path)):
            raise ValueError(f"directions: got {path}, allowed are those of the text stream")
        number, letter, _ = match.groups()
        if letter:
            blocks[number][letter] = pair
        else:
            layers[f"{attention.format(number)}_proj"] = pair
    for number, parts in blocks.items():
        down, up = next(iter(parts.values()))
        nothing = torch.zeros_like(down), torch.zeros_like(up)
        downs, ups = zip(*(parts.get(letter, nothing) for letter in "qkv"), strict=True)
        layers[f"{attention.format(number)}_qkv"] = torch.cat(downs), torch.block_diag(*ups)
    return layers


def split_fused(layer: str, down: Tensor, up: Tensor) -> dict[str, Pair] | None:
    """Return module -> A and B of a layer that a file names as SD 3's or FLUX.1's own code does;
    None for others.

    diffusers converts those of SD 3 for no pipeline, and those of FLUX.1 in kohya's spelling only.
    """
    if not (match := _NATIVE.fullmatch(layer)):
        return None
    stream, kind = match["stream"] or match["side"], match["kind"]
    block = f"transformer_blocks.{match['joint'] or match['double']}.attn"
    if kind == "proj":
        return {f"{block}.{_OUTPUTS[stream]}": (down, up)}
    if up.shape[0] % 3:
        return None
    names = [f"{block}.{_PARTS[stream].format(letter)}" for letter in "qkv"]
    pairs = [(down, part) for part in up.chunk(3)]
    if down.shape[0] % 3 == 0 and _is_diagonal(up):
        pairs = [
            (a, b.chunk(3, dim=1)[i])
            for i, (a, b) in enumerate(zip(down.chunk(3), up.chunk(3), strict=True))
        ]
    return dict(zip(names, pairs, strict=True))


def _is_diagonal(up: Tensor) -> bool:
    """Return whether B's thirds act on thirds of A, each on its own."""
    cells = [part.chunk(3, dim=1) for part in up.chunk(3)]
    return not any(cells[i][j].any() for i in range(3) for j in range(3) if i != j)
