"""What gating costs: a denoiser's forward pass with mixed adapters, against bare and against PEFT.

Every figure is a ratio of two ways that run in turn in the same process, so that a slow or busy
machine slows both.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank, Directions

_WARMUP = 2


def paired_ratio(
    first: Callable[[], object], second: Callable[[], object], rounds: int = 15
) -> float:
    """Return the median over rounds of the time of `first` divided by that of `second`."""
    ratios = []
    for turn in range(rounds + _WARMUP):
        ratio = _seconds(first) / _seconds(second)
        if turn >= _WARMUP:
            ratios.append(ratio)
    return statistics.median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


@torch.inference_mode()
def bank_figures(backbone: Backbone, num_rows: int = 8, rounds: int = 15) -> dict[str, float]:
    """Return the ratios of a forward pass of `num_rows` rows, each with an adapter of its own.

    `bank_overhead` is over the bare denoiser, `bank_64_over_2` with 64 adapters loaded over two,
    `peft_over_bank` PEFT's own mixed batch (`adapter_names`) over the bank, `switching_over_bank`
    one row at a time with diffusers' `set_adapters` over the bank.
    """
    denoiser = backbone.denoiser
    many = {f"adapter-{i}": _random_directions(backbone, seed=i) for i in range(64)}
    mixed = list(many)[:num_rows]
    of_2, of_own, of_64 = (
        _Gated(denoiser, many, loaded, num_rows) for loaded in (mixed[:2], mixed, list(many))
    )
    x = torch.randn(num_rows, *backbone.latent_shape(), device=backbone.device)
    t = torch.linspace(1, 999, num_rows, device=backbone.device).long()
    context = backbone.encode([f"a photo of a person {i}" for i in range(num_rows)])

    def run(model: nn.Module, rows: slice = slice(None)) -> Tensor:
        dtype = next(model.parameters()).dtype
        return model(x[rows].to(dtype), t[rows], encoder_hidden_states=context[rows]).sample

    peft: Any = deepcopy(denoiser)
    for name in mixed:
        peft.load_lora_adapter(_peft_weights(many[name]), adapter_name=name, prefix=None)
    row_names: list[list[str]] = [[]]
    _pass_names(peft, row_names)

    def peft_mixed() -> None:
        row_names[0] = mixed
        run(peft)
        row_names[0] = []

    def switching() -> None:
        for row, name in enumerate(mixed):
            peft.set_adapters(name)
            run(peft, slice(row, row + 1))

    def banked(gated: "_Gated") -> Callable[[], Tensor]:
        return lambda: run(gated.denoiser)

    with of_2, of_own, of_64:
        return {
            "bank_overhead": paired_ratio(banked(of_own), lambda: run(denoiser), rounds),
            "bank_64_over_2": paired_ratio(banked(of_64), banked(of_2), rounds),
            "peft_over_bank": paired_ratio(peft_mixed, banked(of_own), rounds),
            "switching_over_bank": paired_ratio(switching, banked(of_own), rounds),
        }


class _Gated:
    """A copy of a denoiser with a bank of some adapters on it; row i uses adapter i modulo all."""

    def __init__(
        self, denoiser: nn.Module, many: Mapping[str, Directions], loaded: Sequence[str], rows: int
    ) -> None:
        self.denoiser = deepcopy(denoiser)
        bank = AdapterBank(self.denoiser, list(next(iter(many.values()))))
        for name in loaded:
            bank.add(name, many[name])
        names = list(loaded)
        gates = torch.eye(len(names))[[row % len(names) for row in range(rows)]]
        self._gates = bank.gated(gates)

    def __enter__(self) -> None:
        self._gates.__enter__()

    def __exit__(self, *error: object) -> None:
        self._gates.__exit__(None, None, None)


def _random_directions(backbone: Backbone, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    generator, found = torch.Generator().manual_seed(seed), {}
    for path in backbone.projections("qkvo"):
        layer = backbone.denoiser.get_submodule(path)
        assert isinstance(layer, nn.Linear)
        down = torch.randn(1, layer.in_features, generator=generator)
        found[path] = (down, torch.randn(layer.out_features, 1, generator=generator))
    return found


def _peft_weights(directions: Directions) -> dict[str, Tensor]:
    weights = {}
    for path, (down, up) in directions.items():
        weights[f"{path}.lora_A.weight"], weights[f"{path}.lora_B.weight"] = down, up
    return weights


def _pass_names(model: nn.Module, row_names: list[list[str]]) -> None:
    """Hand each LoRA layer the adapter of each row, as PEFT's own models do."""
    from peft.tuners.lora import LoraLayer

    def add_names(layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, kwargs | ({"adapter_names": row_names[0]} if row_names[0] else {})

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.register_forward_pre_hook(add_names, with_kwargs=True)
