"""bfloat16 on a CPU: faster than float32 where the processor has units for it, slower elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from fairgen.backbones.backbone import Backbone

log = logging.getLogger(__name__)

_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # as torch names them, of x86 and of Arm
_ROWS, _TURNS = 8, 3
_PATIENCE_S = 0.25  # a pass of one row that takes longer is measured once, with that row
_WORTH = 0.95  # of float32's time: less is not worth other numbers


class RoundedWeights:
    """A CPU denoiser's weights in bfloat16, beside those that it was loaded with.

    Layers that the model keeps in float32 stay, and so does what is not float32.
    """

    def __init__(self, denoiser: nn.Module) -> None:
        kept = tuple(getattr(denoiser, "_keep_in_fp32_modules", None) or ())
        named = chain(denoiser.named_parameters(), denoiser.named_buffers())
        self._tensors = [
            tensor
            for name, tensor in named
            if tensor.dtype == torch.float32 and not set(kept) & set(name.split("."))
        ]
        self._rounded = [tensor.data.to(torch.bfloat16) for tensor in self._tensors]

    @contextmanager
    def used(self) -> Iterator[None]:
        """Compute with them meanwhile. No gradient may be on its way."""
        own = [tensor.data for tensor in self._tensors]
        self.put()
        try:
            yield
        finally:
            _hold(self._tensors, own)

    def put(self) -> None:
        """Compute with them from now on."""
        _hold(self._tensors, self._rounded)


def paint_in_bfloat16_where_faster(backbone: Backbone) -> None:
    """Have a denoiser compute in bfloat16 from now on, if its passes are faster so.

    Its fingerprint stays that of the weights as they were loaded. Call it before anything is made
    of the backbone: adapters are kept in the precision of the layers that they are loaded onto.
    """
    if (weights := rounded_where_faster(backbone)) is not None:
        log.info("base %s is rounded to bfloat16", backbone.fingerprint)  # which is kept with it
        weights.put()


def has_bfloat16_units(device: torch.device) -> bool:
    """Return whether the processor that a model runs on is a CPU with units for bfloat16."""
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(capabilities.get(unit) for unit in _UNITS)


def rounded_where_faster(backbone: Backbone) -> RoundedWeights | None:
    """Return the denoiser's weights in bfloat16, not yet in use, if passes with them are faster.

    That is measured, within about a second for a small model, where the processor has units for it.
    """
    plain = {parameter.dtype for parameter in backbone.denoiser.parameters()} == {torch.float32}
    if not (plain and has_bfloat16_units(backbone.device)):
        return None
    weights = RoundedWeights(backbone.denoiser)
    own_s, rounded_s, rows = _measure(backbone, weights)
    faster = rounded_s < _WORTH * own_s
    log.info(
        "a pass of %d rows takes %.0f ms in float32 and %.0f ms in bfloat16, which is %s",
        rows, 1000 * own_s, 1000 * rounded_s, "taken" if faster else "left",
    )  # fmt: skip
    return weights if faster else None


@torch.inference_mode()
def _measure(backbone: Backbone, weights: RoundedWeights) -> tuple[float, float, int]:
    """Return the least seconds of a pass in float32 and in bfloat16, by turns, and its rows."""
    context = backbone.encode([""])

    def took_s(rows: int) -> float:
        x = torch.zeros(rows, *backbone.latent_shape(), device=backbone.device)
        t_N, scale_N = torch.full((rows,), 500.0), torch.full((rows,), 3.0)
        started = time.perf_counter()
        backbone.denoise(x, t_N, context.expand(rows), scale_N)
        return time.perf_counter() - started

    first_s = took_s(1)
    rows, turns = (_ROWS, _TURNS) if first_s < _PATIENCE_S else (1, 1)
    own, rounded = [], []
    for _ in range(turns + 1):  # whatever is prepared once, is at the first
        own.append(took_s(rows))
        with weights.used():
            rounded.append(took_s(rows))
    return min(own), min(rounded), rows


def _hold(tensors: list[Tensor], values: list[Tensor]) -> None:
    with torch.inference_mode(False), torch.no_grad():
        for tensor, data in zip(tensors, values, strict=True):
            tensor.data = data
