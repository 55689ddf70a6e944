"""bfloat16 on a CPU: faster than float32 where the processor has units for it, slower elsewhere."""

import hashlib
import logging
import os
import platform
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

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


def compute_in_bfloat16_where_faster(backbone: Backbone, kept_in: Path | None = None) -> bool:
    """Round a denoiser in float32 to bfloat16 if its passes are faster so; return whether it is.

    That is measured, for about a second, where the processor has units for it: once a base and
    machine, since a seed's picture shall not hang on which of several processes paints it. What was
    found is kept in the folder `kept_in`, of the user's cache unless it is given; where nothing can
    be kept, each process measures for itself.
    """
    plain = {parameter.dtype for parameter in backbone.denoiser.parameters()} == {torch.float32}
    if not (plain and has_bfloat16_units(backbone.device)):
        return False

    def is_faster() -> bool:
        own_s, rounded_s, rows = _measure(backbone)
        log.info(
            "a pass of %d rows takes %.0f ms in bfloat16, %.0f ms in float32",
            rows, 1000 * rounded_s, 1000 * own_s,
        )  # fmt: skip
        return rounded_s < _WORTH * own_s

    units = [unit for unit in _UNITS if torch.cpu.get_capabilities().get(unit)]
    of = f"{backbone.fingerprint} {torch.__version__} {platform.node()} {units}"
    name = hashlib.sha256(of.encode()).hexdigest()[:32]
    if faster := _as_first_found((kept_in or _user_cache()) / name, is_faster):
        round_to_bfloat16(backbone)
    return faster


def _user_cache() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache"
    return Path(caches) / "fairgen" / "precision"


def _as_first_found(file: Path, is_faster: Callable[[], bool]) -> bool:
    """Return what a file says, or what is found, which the file says from then on: of several who
    find at once all return what the first has written.
    """
    words = {"bfloat16": True, "float32": False}

    def said() -> bool | None:
        with suppress(OSError, ValueError):
            return words.get(file.read_text())
        return None

    if (before := said()) is not None:
        return before
    found = is_faster()
    own = file.with_name(f"{file.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        own.write_text("bfloat16" if found else "float32")
        with suppress(FileExistsError):
            os.link(own, file)  # which never replaces
        own.unlink()
    except OSError as error:
        log.warning("precision: each process measures for itself, nothing is kept: %s", error)
    first = said()
    return found if first is None else first


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
