"""The cost of gating: pictures with mixed adapters, against none at all, PEFT and switching.

Every figure is a ratio of two ways that run in turn in the same process, so that a slow or busy
machine slows both.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import copy, deepcopy
from typing import Any

import diffusers
import torch
from tensordict import TensorDict
from torch import Tensor, nn

from fairgen.adapters import lora_state_dict
from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank, TextPositions
from fairgen.engine import Engine, ImageJob, KeyValueCache
from pipelines.benchmarks.memory_estimate import DenoiserShape

_WARMUP = 2
_MANY = 64


def paired_ratio(
    first: Callable[[], object],
    second: Callable[[], object],
    rounds: int = 15,
    warmup: int = _WARMUP,
) -> float:
    """Return the median over rounds of the time of `first` divided by that of `second`."""
    ratios = []
    for turn in range(rounds + warmup):
        ratio = measured_seconds(first) / measured_seconds(second)
        if turn >= warmup:
            ratios.append(ratio)
    return statistics.median(ratios)


def measured_seconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes, with the work that it queues on a GPU."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def engine_figures(
    backbone: Backbone, rank: int, projections: str, num_steps: int, rounds: int = 15
) -> dict[str, float]:
    """Return ratios of the time that the engine takes for eight guided pictures, decoded.

    `bank_overhead`: three adapters of `rank` on `projections` a picture, each picture others, over
    an engine without a bank. `bank_64_over_2`: 64 loaded, of which the pictures use eight, over
    two. `key_values_once`: keys and values computed once a picture over once a step, no adapters.
    """
    many = {f"adapter-{i}": random_directions(backbone, i, rank, projections) for i in range(_MANY)}

    def build(num_loaded: int, **options: Any) -> Engine:
        own = copy(backbone)
        own.denoiser = deepcopy(backbone.denoiser)
        engine = Engine(own, **options)
        for name in list(many)[:num_loaded]:
            engine.bank.add(name, many[name])
        return engine

    bare, of_two, of_many = build(0), build(2), build(_MANY)
    anew = build(0, cache_key_values=False)
    for without in (bare, anew):
        without.bank.close()

    def eight(engine: Engine, adapters_each: int) -> Callable[[], object]:
        names = engine.bank.names
        jobs = [
            ImageJob(
                f"a photo of a person {row}",
                seed=row,
                gates={names[(row + 8 * i) % len(names)]: 1.0 for i in range(adapters_each)},
                num_steps=num_steps,
                guidance_scale=3.0,
            )
            for row in range(8)
        ]
        return lambda: engine.paint(jobs)

    return {
        "bank_overhead": paired_ratio(eight(of_many, 3), eight(bare, 0), rounds),
        "bank_64_over_2": paired_ratio(eight(of_many, 1), eight(of_two, 1), rounds),
        "key_values_once": paired_ratio(eight(bare, 0), eight(anew, 0), rounds),
    }


@torch.inference_mode()
def pass_figures(backbone: Backbone, num_rows: int = 8, rounds: int = 15) -> dict[str, float]:
    """Return ratios of one forward pass of `num_rows` rows, each with an adapter of its own.

    The adapters are of rank 1 on all four projections. `peft_over_bank`: PEFT's own mixed batch
    (`adapter_names`) over the bank; `switching_over_bank`: one row at a time with diffusers'
    `set_adapters` over the bank.
    """
    many = {f"adapter-{i}": random_directions(backbone, i, 1, "qkvo") for i in range(num_rows)}
    x, t, context = _batch(backbone, num_rows)
    banked: Any = deepcopy(backbone.denoiser)
    bank = AdapterBank(banked, list(next(iter(many.values()))))
    for name, directions in many.items():
        bank.add(name, directions)

    def run(model: nn.Module, rows: slice = slice(None)) -> Tensor:
        dtype = next(model.parameters()).dtype
        return model(x[rows].to(dtype), t[rows], encoder_hidden_states=context["text"][rows]).sample

    peft: Any = deepcopy(backbone.denoiser)
    for name, directions in many.items():
        peft.load_lora_adapter(lora_state_dict(directions), adapter_name=name, prefix=None)
    row_names: list[list[str]] = [[]]
    _pass_names(peft, row_names)

    def peft_mixed() -> None:
        row_names[0] = list(many)
        run(peft)
        row_names[0] = []

    def switching() -> None:
        for row, name in enumerate(many):
            peft.set_adapters(name)
            run(peft, slice(row, row + 1))

    with bank.gated(torch.eye(num_rows)):
        return {
            "peft_over_bank": paired_ratio(peft_mixed, lambda: run(banked), rounds),
            "switching_over_bank": paired_ratio(switching, lambda: run(banked), rounds),
        }


@torch.inference_mode()
def full_size_figures(
    backbone: Backbone, num_rows: int, rank: int, projections: str, rounds: int = 3
) -> dict[str, float]:
    """Return the ratios of a forward pass of a large denoiser, whose weights are held only once.

    `bank_overhead_<projections>_full_size`: rows with an adapter each, keys and values known as
    the engine knows them, over the bare denoiser that computes them.
    """
    denoiser = backbone.denoiser
    bank = AdapterBank(denoiser, backbone.projections("qkvo"))
    prompt_only = backbone.prompt_projections()
    cache = KeyValueCache(denoiser, bank, prompt_only)
    for row in range(num_rows):
        bank.add(str(row), random_directions(backbone, row, rank, projections))
    x, t, context = _batch(backbone, num_rows)
    gates = torch.eye(num_rows, device=x.device)
    known = cache.stack(cache.compute(context, gates))
    mix = bank.active_directions(
        gates, [path for path in bank.projections if path not in prompt_only]
    )

    def run(gated: bool) -> None:
        with (
            bank.gated(mix) if gated else nullcontext(),
            cache.answering(known) if gated else nullcontext(),
        ):
            backbone.denoise(x, t, context)

    ratio = paired_ratio(lambda: run(True), lambda: run(False), rounds, warmup=1)
    bank.close()
    return {f"bank_overhead_{projections}_full_size": ratio}


@torch.inference_mode()
def position_figures(
    shape: DenoiserShape, layers: Mapping[str, int], num_picture: int, num_text: int, rank: int
) -> dict[str, float]:
    """Return the ratio of a forward pass of some layers, at full width, of a denoiser that holds
    text behind the picture in one sequence: two rows with two adapters each, at the positions of
    their prompts, over the bare denoiser. `layers` are the fields that say how many there are.
    """
    denoiser = getattr(diffusers, shape.cls)(**shape.config | dict(layers)).eval()
    paths = [name for name, _ in denoiser.named_modules() if name.startswith("layers.")]
    bank = AdapterBank(denoiser, [path for path in paths if path.endswith(shape.adapted)])
    for name in "abc":
        bank.add(name, {
            path: (torch.randn(rank, layer.in_features) / layer.in_features,
                   torch.randn(layer.out_features, rank) / layer.out_features)
            for path, layer in bank.layers.items()
        })  # fmt: skip
    side = 2 * math.isqrt(num_picture)
    channels, width = shape.inputs["x"][0][0], shape.inputs["cap_feats"][0][1]
    x = [torch.randn(channels, 1, side, side) for _ in range(2)]
    text, t = [torch.randn(num_text, width) for _ in x], torch.tensor([0.3, 0.7])
    mask = torch.arange(num_picture + num_text) >= num_picture
    where = TextPositions(torch.stack([mask, mask.logical_and(mask.cumsum(0) <= num_text // 2)]))
    mix = bank.active_directions(torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))

    def run(gated: bool) -> None:
        with bank.gated(mix, dict.fromkeys(paths, where)) if gated else nullcontext():
            denoiser(x, t, text)

    ratio = paired_ratio(lambda: run(True), lambda: run(False), rounds=7, warmup=1)
    return {"bank_at_positions_full_width": ratio}


def _batch(backbone: Backbone, num_rows: int) -> tuple[Tensor, Tensor, TensorDict]:
    x = torch.randn(num_rows, *backbone.latent_shape(), device=backbone.device)
    t = torch.linspace(1, 999, num_rows, device=backbone.device).long()
    return x, t, backbone.encode([f"a photo of a person {i}" for i in range(num_rows)])


def random_directions(
    backbone: Backbone, seed: int, rank: int, projections: str
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return directions too weak to spoil a picture."""
    generator, directions = torch.Generator().manual_seed(seed), {}
    for path in backbone.projections(projections):
        layer = backbone.denoiser.get_submodule(path)
        assert isinstance(layer, nn.Linear)
        down = torch.randn(rank, layer.in_features, generator=generator)
        up = torch.randn(layer.out_features, rank, generator=generator)
        directions[path] = (down / layer.in_features, up / layer.out_features)
    return directions


def _pass_names(model: nn.Module, row_names: list[list[str]]) -> None:
    """Hand each LoRA layer the adapter of each row, as PEFT's own models do."""
    from peft.tuners.lora import LoraLayer

    def add_names(layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, kwargs | ({"adapter_names": row_names[0]} if row_names[0] else {})

    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.register_forward_pre_hook(add_names, with_kwargs=True)
