"""Gates at regions: N rows x P regions x K adapters.

Inside the `with`, a layer computes its output once for each region, every time under that region's
gates, and the outputs are blended by masks M (N or 1 x P x positions, their sum 1):

    y[n, l] = sum over p of M[n, p, l] f_p(x)[n, l]

At cross-attention (`gated_by_region`) positions are those of the picture: keys, values, queries and
output wear the gates of the region where a query stands. At the projections of the prompt
(`gated_by_word`) they are tokens: the keys and values of a word wear the gates of whoever it speaks
of, and are read from the whole picture. A row with the same gates in all regions is computed once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from fairgen.bank import AdapterBank

MaskOf = Callable[[int], Tensor]  # number of positions -> N or 1 x P x positions


@contextmanager
def gated_by_region(
    denoiser: nn.Module, bank: AdapterBank, gates_NPK: Tensor, masks: Tensor
) -> Iterator[None]:
    """Gate each region of the picture by itself: masks over the latents, N or 1 x P x H x W, which
    add up to 1.
    """
    paths = sorted({path.rpartition(".")[0] for path in bank.projections})
    layers = {path: denoiser.get_submodule(path) for path in paths}
    with _gated_at(layers, bank, gates_NPK, lambda count: region_masks(masks, count)):
        yield


@contextmanager
def gated_by_word(
    denoiser: nn.Module, bank: AdapterBank, gates_NPK: Tensor, masks_PL: Tensor
) -> Iterator[None]:
    """Gate each token of the prompt by itself: masks over the tokens, 0 where nobody's gates act.

    Raises ValueError for a bank that acts on other projections than keys and values.
    """
    layers = {path: denoiser.get_submodule(path) for path in bank.projections}
    if other := [path for path in layers if path.rpartition(".")[2] not in ("to_k", "to_v")]:
        raise ValueError(f"projections: got {other[0]!r}, allowed are keys and values")
    rest_1L = 1 - masks_PL.sum(0, keepdim=True)  # a region without gates
    masks = torch.cat([masks_PL, rest_1L])[None]
    bare_N1K = gates_NPK.new_zeros(len(gates_NPK), 1, gates_NPK.shape[2])
    with _gated_at(layers, bank, torch.cat([gates_NPK, bare_N1K], dim=1), lambda _: masks):
        yield


def region_masks(masks: Tensor, num_positions: int) -> Tensor:
    """Return masks at a level of the denoiser, N or 1 x P x positions: means over what a position
    covers.
    """
    height, width = masks.shape[2:]
    factor = round((height * width / num_positions) ** 0.5)
    level = functional.avg_pool2d(masks, factor, ceil_mode=True)
    if level[0, 0].numel() != num_positions:
        raise ValueError(
            f"masks: got {height} x {width}, allowed is a shape with levels of {num_positions}"
        )
    return level.flatten(2)


def halves(height: int, width: int, ramp: float = 0.0) -> Tensor:
    """Return the masks of the left and the right half, 1 x 2 x height x width.

    They change over `ramp` columns around the middle, at once where it is 0.
    """
    columns = torch.arange(width) + 0.5 - width / 2
    right = (columns / ramp + 0.5).clamp(0, 1) if ramp else (columns > 0).float()
    return torch.stack([1 - right, right])[None, :, None].expand(1, 2, height, width).contiguous()


@contextmanager
def attention_to_words(
    denoiser: nn.Module, masks_PL: Tensor, height: int, width: int
) -> Iterator[list[Tensor]]:
    """Yield a list that fills with how much each position looks at the words of each person, from
    every layer of cross-attention that has all positions: N x P x height x width.
    """
    found: list[Tensor] = []
    handles = []
    for path, layer in denoiser.named_modules():
        if not path.endswith(".attn2"):
            continue
        queries: list[Tensor] = []

        def keep_queries(
            _: nn.Module, args: object, output: Tensor, queries: list[Tensor] = queries
        ) -> None:
            queries[:] = [output]

        def attend(
            _: nn.Module,
            args: object,
            keys: Tensor,
            queries: list[Tensor] = queries,
            heads: int = layer.heads,
        ) -> None:
            if queries[0].shape[1] == height * width:
                q, k = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (queries[0], keys))
                share = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).mean(1)
                found.append((share @ masks_PL.T).mT.unflatten(2, (height, width)))

        handles.append(layer.to_q.register_forward_hook(keep_queries))
        handles.append(layer.to_k.register_forward_hook(attend))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def regions_of(attention: Tensor) -> Tensor:
    """Return which person each position belongs to, N x P x H x W of 0 and 1.

    It is the person at whose words a position looks most, once the maps are smoothed and each is
    divided by its own mean.
    """
    smooth = functional.avg_pool2d(attention, 3, stride=1, padding=1, count_include_pad=False)
    relative = smooth / smooth.mean(dim=(2, 3), keepdim=True)
    return functional.one_hot(relative.argmax(1), attention.shape[1]).permute(0, 3, 1, 2).float()


@contextmanager
def split_self_attention(denoiser: nn.Module, height: int, width: int) -> Iterator[None]:
    """Let no position look at the other half of the picture: a probe, no part of the method."""
    layers = [layer for path, layer in denoiser.named_modules() if path.endswith(".attn1")]
    asked_again: set[nn.Module] = set()

    def split(
        layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        if layer in asked_again:
            return None
        x = args[0]
        factor = round((height * width / x.shape[1]) ** 0.5)
        h, w = height // factor, width // factor
        parts = x.unflatten(1, (h, w)).unflatten(2, (2, w // 2)).transpose(1, 2)
        asked_again.add(layer)
        found = layer(parts.flatten(0, 1).flatten(1, 2), *args[1:], **kwargs)
        asked_again.remove(layer)
        return found.view(len(x), 2, h, w // 2, -1).transpose(1, 2).reshape(output.shape)

    handles = [layer.register_forward_hook(split, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _gated_at(
    layers: Mapping[str, nn.Module], bank: AdapterBank, gates_NPK: Tensor, masks: MaskOf
) -> Iterator[None]:
    """Blend what each layer answers in each region."""
    num_regions = gates_NPK.shape[1]
    differs_N = (gates_NPK != gates_NPK[:, :1]).flatten(1).any(dim=1)
    rows = differs_N.nonzero().flatten()
    # the bank counts the rows that a layer is called with: all in the first region, then `rows`
    gates = [gates_NPK[:, 0], *(gates_NPK[rows, region] for region in range(1, num_regions))]
    asked_again: set[nn.Module] = set()

    def blend(
        layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        if layer in asked_again or not len(rows):
            return None
        N = len(gates_NPK)

        def some(value: Any) -> Any:
            is_rows = isinstance(value, Tensor) and value.ndim and value.shape[0] == N
            return value[rows] if is_rows else value

        part_args = [some(value) for value in args]
        part_kwargs = {name: some(value) for name, value in kwargs.items()}
        at = masks(output.shape[1]).to(output)[..., None]
        mask_NPL1 = at[rows] if len(at) > 1 else at
        blended = mask_NPL1[:, 0] * output[rows]
        asked_again.add(layer)
        try:
            for region in range(1, num_regions):
                blended += mask_NPL1[:, region] * layer(*part_args, **part_kwargs)
        finally:
            asked_again.remove(layer)
        return output.index_copy(0, rows, blended)

    with bank.gated(torch.cat(gates)):
        handles = [
            layer.register_forward_hook(blend, with_kwargs=True) for layer in layers.values()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
