"""bfloat16 on a CPU: faster than float32 where the processor has units for it, slower elsewhere."""

import logging
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from fairgen.backbones.backbone import Backbone
from fairgen.backbones.pass_seconds import seconds_of_pass

log = logging.getLogger(__name__)

_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # as torch names them, of x86 and of Arm
_ROWS, _TURNS = 8, 3
_PATIENCE_S = 0.25  # where one row takes longer, it is measured alone and once
_WORTH = 0.95  # of float32's time: less is not worth other numbers


def has_bfloat16_units(device: torch.device) -> bool:
    """Return whether a device is a CPU whose processor has units for bfloat16."""
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(capabilities.get(unit) for unit in _UNITS)


def round_to_bfloat16(backbone: Backbone) -> None:
    """Have a denoiser compute in bfloat16; layers that the model keeps in float32 stay.

    The backbone's fingerprint stays that of the weights as they were loaded. Call it before
    anything is made of the backbone: adapters are kept in the precision of the layers that they are
    loaded onto.
    """
    log.info("base %s computes in bfloat16", backbone.fingerprint)  # which the backbone keeps
    _hold(_rounded(backbone.denoiser))


def compute_in_bfloat16_where_faster(backbone: Backbone) -> bool:
    """Round a denoiser in float32 to bfloat16 if its passes are faster so; return whether it is.

    That is measured, for about a second, where the processor has units for it.
    """
    plain = {parameter.dtype for parameter in backbone.denoiser.parameters()} == {torch.float32}
    if not (plain and has_bfloat16_units(backbone.device)):
        return False
    own_s, rounded_s, rows = _measure(backbone)
    log.info(
        "a pass of %d rows takes %.0f ms in bfloat16, %.0f ms in float32",
        rows, 1000 * rounded_s, 1000 * own_s,
    )  # fmt: skip
    if faster := rounded_s < _WORTH * own_s:
        round_to_bfloat16(backbone)
    return faster


def _rounded(denoiser: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return the tensors that may be rounded, each with what it is in bfloat16."""
    kept = set(getattr(denoiser, "_keep_in_fp32_modules", None) or ())
    return [
        (tensor, tensor.data.to(torch.bfloat16))
        for name, tensor in chain(denoiser.named_parameters(), denoiser.named_buffers())
        if tensor.dtype == torch.float32 and not kept & set(name.split("."))
    ]


def _hold(values: Sequence[tuple[Tensor, Tensor]]) -> None:
    with torch.inference_mode(False), torch.no_grad():
        for tensor, data in values:
            tensor.data = data


def _measure(backbone: Backbone) -> tuple[float, float, int]:
    """Return the least seconds of a pass in float32 and in bfloat16, by turns, and its rows."""
    rounded = _rounded(backbone.denoiser)
    own = [(tensor, tensor.data) for tensor, _ in rounded]
    row_s = min(seconds_of_pass(backbone, 1) for _ in range(2))  # whatever is prepared at first
    rows, turns = (_ROWS, _TURNS) if row_s < _PATIENCE_S else (1, 1)
    own_s, rounded_s = [], []
    for _ in range(turns + 1):
        own_s.append(seconds_of_pass(backbone, rows))
        _hold(rounded)
        try:
            rounded_s.append(seconds_of_pass(backbone, rows))
        finally:
            _hold(own)
    return min(own_s), min(rounded_s), rows
