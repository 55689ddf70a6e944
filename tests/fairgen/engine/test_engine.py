"""Rows share every forward pass, and each picture is what it would be alone, in plain diffusers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.hooks import HookRegistry
from PIL import Image
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones import load_backbone
from fairgen.engine import Engine, Event, ImageError, ImageJob, ImageResult, RequestHandle
from fairgen.pipeline import FairGenPipeline
from tests.fairgen.test_adapters import make_adapter
from tests.tiny import tiny_pipeline

WOMAN, MAN = {"gender-woman": 1.0}, {"gender-man": 1.0}


def open_engine(pipe: StableDiffusionPipeline, max_rows: int = 32) -> Engine:
    engine = Engine(load_backbone(pipe), max_rows)
    for category, word in (("woman", "female"), ("man", "male")):
        adapter = make_adapter(tiny_pipeline(), category=category, word=word)
        engine.load(adapter.name, adapter)
    return engine


def paint(engine: Engine, *requests: Sequence[ImageJob]) -> list[list[Image.Image]]:
    """Submit requests at once and return each one's pictures."""
    tickets = [engine.submit(pictures) for pictures in requests]
    found: dict[tuple[RequestHandle, int], Image.Image] = {}
    for event in engine.run():
        assert isinstance(event, ImageResult)
        if event.final:
            found[event.handle, event.index] = event.image
    return [[found[t, i] for i in range(len(t.jobs))] for t in tickets]


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, float) / 255


def same(one: Image.Image, other: Image.Image) -> bool:
    """Return whether two pictures agree to 1e-3 but for the rounding to 8 bits."""
    return bool(np.abs(pixels(one) - pixels(other)).max() <= 1.001 / 255)


MIXED = [
    ImageJob("a photo of a doctor", 1, WOMAN, num_steps=5, guidance_scale=4.0),
    ImageJob("a nurse", 2, MAN, num_steps=3, guidance_scale=1.0),
    ImageJob("a nurse", 3, {}, num_steps=7, guidance_scale=2.0, negative_prompt="a car"),
    ImageJob("a pilot", 4, WOMAN | MAN, num_steps=5, guidance_scale=7.5),
    ImageJob("a judge", 5, {"gender-man": 0.5}, num_steps=4, guidance_scale=3.0, width_px=24,
            height_px=16),
]  # fmt: skip


def test_a_mixed_batch_equals_each_picture_alone() -> None:
    together = paint(open_engine(tiny_pipeline()), MIXED)[0]
    for picture, image in zip(MIXED, together, strict=True):
        (alone,) = paint(open_engine(tiny_pipeline()), [picture])[0]
        assert same(image, alone)
    assert together[4].size == (24, 16)


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DPMSolverMultistepScheduler])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_a_picture_equals_the_diffusers_pipeline(
    any_pipe: StableDiffusionPipeline, scheduler: type, guidance_scale: float
) -> None:
    any_pipe.scheduler = scheduler.from_config(any_pipe.scheduler.config)
    options = {"num_inference_steps": 6, "guidance_scale": guidance_scale}
    plain = any_pipe(
        "a photo of a doctor", generator=torch.Generator().manual_seed(7), **options
    ).images[0]
    picture = ImageJob("a photo of a doctor", 7, num_steps=6, guidance_scale=guidance_scale)
    (ours,) = paint(Engine(load_backbone(any_pipe)), [picture])[0]
    assert same(ours, plain)


def test_a_gated_picture_equals_the_library_pipeline() -> None:
    adapters = [make_adapter(tiny_pipeline(), category=c) for c in ("woman", "man")]
    fair = FairGenPipeline(tiny_pipeline(), adapters)
    expected = fair(
        "a doctor", 2, {"gender": {"woman": 1.0}}, seed=3, num_inference_steps=4, guidance_scale=3.0
    ).images
    engine = Engine(load_backbone(tiny_pipeline()))
    for adapter in adapters:
        engine.load(adapter.name, adapter)
    pictures = [ImageJob("a doctor", 3 + i, WOMAN, 4, 3.0) for i in range(2)]
    for ours, theirs in zip(paint(engine, pictures)[0], expected, strict=True):
        assert same(ours, theirs)


def test_rows_that_join_later_change_nothing() -> None:
    engine = open_engine(tiny_pipeline())
    first = engine.submit([MIXED[0]])
    engine.step()
    engine.step()
    engine.submit(MIXED[1:4])
    images = {(e.handle, e.index): e.image for e in engine.run() if isinstance(e, ImageResult)}
    (alone,) = paint(open_engine(tiny_pipeline()), [MIXED[0]])[0]
    assert same(images[first, 0], alone)


def test_requests_share_every_forward_pass() -> None:
    pipe, batches = tiny_pipeline(), []
    engine = open_engine(pipe)
    forward = pipe.unet.forward

    def counted(sample: Tensor, *args: object, **kwargs: object) -> object:
        batches.append(sample.shape[0])
        return forward(sample, *args, **kwargs)

    pipe.unet.forward = counted
    paint(engine, [MIXED[0]], [MIXED[1]], [MIXED[2]], [MIXED[3]])
    assert batches == [7, 7, 7, 6, 6, 2, 2]


def test_keys_and_values_are_computed_once_a_picture_those_without_adapters_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipe, calls = tiny_pipeline(), Counter()
    names = {
        layer: path.rsplit(".", 1)[-1]
        for path, layer in pipe.unet.named_modules()
        if ".attn2." in path
    }
    forward = torch.nn.Linear.forward

    def counted(layer: torch.nn.Linear, x: Tensor) -> Tensor:
        calls[names.get(layer, "other")] += 1
        return forward(layer, x)

    monkeypatch.setattr(torch.nn.Linear, "forward", counted)
    engine = open_engine(pipe)
    paint(engine, [replace(MIXED[0], num_steps=6)])
    blocks = len(engine.bank.projections) // 4
    assert calls["to_k"] == calls["to_v"] == 2 * blocks
    assert calls["to_q"] == 6 * blocks
    paint(engine, [replace(MIXED[0], num_steps=6, seed=9)])
    assert calls["to_k"] == calls["to_v"] == 3 * blocks


def test_large_and_small_requests_advance_together() -> None:
    engine = open_engine(tiny_pipeline(), max_rows=4)
    big = engine.submit([replace(MIXED[0], seed=s, num_steps=2) for s in range(12)])
    small = [engine.submit([replace(MIXED[0], seed=50 + s, num_steps=2)]) for s in range(3)]
    order = [event.handle for event in engine.run() if isinstance(event, ImageResult)]
    assert len(order) == 15 and order.count(big) == 12
    assert max(order.index(ticket) for ticket in small) <= 6  # not behind the twelve
    assert order[:8].count(big) >= 3  # nor the twelve behind them


def test_the_bound_on_rows_holds_and_counts_guidance_twice() -> None:
    pipe, batches = tiny_pipeline(), []
    engine = open_engine(pipe, max_rows=5)
    pipe.unet.register_forward_pre_hook(lambda _, args: batches.append(args[0].shape[0]))
    paint(engine, [replace(MIXED[0], seed=s) for s in range(6)], [MIXED[1]] * 3)
    assert max(batches) in (4, 5)


def test_the_bound_follows_the_size_of_pictures_and_stops_none() -> None:
    pipe, areas = tiny_pipeline(), []
    engine = open_engine(pipe, max_rows=6)
    pipe.unet.register_forward_pre_hook(
        lambda _, args: areas.append(args[0].shape[0] * args[0].shape[-1] ** 2)
    )
    native = replace(MIXED[1], num_steps=2)  # a row of 8 x 8 latents
    large, larger = (replace(native, width_px=side, height_px=side) for side in (24, 48))
    for pictures in ([larger], [native] * 4, [large] * 3):
        engine.submit(pictures)
    a_step, finished = [], 0
    while engine.pending:
        areas.clear()
        finished += len(engine.step())
        a_step.append(sum(areas) / 64)
    assert finished == 8
    assert max(a_step) == 9 and a_step.count(9) == 2  # over the bound: alone, but painted
    assert max(rows for rows in a_step if rows != 9) == 4.5  # two of 2.25, each counted as 3 of 6


def test_a_cancelled_request_frees_its_rows_at_the_next_step() -> None:
    engine = open_engine(tiny_pipeline(), max_rows=4)
    gone = engine.submit([replace(MIXED[0], seed=s) for s in range(6)])
    kept = engine.submit([MIXED[2]])
    engine.step()
    engine.cancel(gone)
    events = list(engine.run())
    assert {event.handle for event in events} == {kept}
    assert engine.pending == 0


def test_a_failed_picture_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(tiny_pipeline())
    encode, denoise = engine.backbone.encode, engine.backbone.denoise

    def failing_encode(prompts: Sequence[str | None]) -> TensorDict:
        if "unreadable" in (prompts[0] or ""):
            raise RuntimeError("no such words")
        return encode(prompts) * (float("nan") if "void" in (prompts[0] or "") else 1)

    def failing_denoise(x: Tensor, t: Tensor, context: TensorDict, guidance: Tensor) -> Tensor:
        if x.shape[0] > 4 or float(x.abs().max()) == 9.0:
            raise MemoryError("too many rows")
        return denoise(x, t, context, guidance)

    monkeypatch.setattr(engine.backbone, "encode", failing_encode)
    monkeypatch.setattr(engine.backbone, "denoise", failing_denoise)
    prompts = ["a doctor", "unreadable", "a nurse", "void", "a pilot"]
    ticket = engine.submit([replace(MIXED[0], prompt=prompt) for prompt in prompts])
    ends: dict[int, Event] = {event.index: event for event in engine.run()}
    assert len(ends) == 5 and engine.pending == 0
    failed = {index: e.error for index, e in ends.items() if isinstance(e, ImageError)}
    assert set(failed) == {1, 3}
    assert failed[1] == "no such words" and "latents are not finite" in failed[3]
    assert all(event.handle is ticket for event in ends.values())


def test_previews_come_closer_to_the_picture() -> None:
    engine = open_engine(tiny_pipeline())
    engine.submit([replace(MIXED[0], num_steps=8, preview_at=(2, 4, 6))])
    events = [event for event in engine.run() if isinstance(event, ImageResult)]
    assert [(e.step, e.final) for e in events] == [(2, False), (4, False), (6, False), (8, True)]
    last = pixels(events[-1].image)
    gaps = [np.abs(pixels(event.image) - last).mean() for event in events[:-1]]
    assert gaps[0] > gaps[-1]


def test_a_retired_adapter_stays_until_its_last_picture_is_painted() -> None:
    engine = open_engine(tiny_pipeline())
    engine.submit([MIXED[0]])
    engine.step()
    newer = make_adapter(tiny_pipeline(), rank=3)
    engine.load("gender-woman@2", newer)
    engine.retire(["gender-woman"])
    engine.submit([replace(MIXED[0], gates={"gender-woman@2": 1.0})])
    images = [event.image for event in engine.run() if isinstance(event, ImageResult)]
    engine.step()
    assert set(engine.bank.names) == {"gender-man", "gender-woman@2"}
    (alone,) = paint(open_engine(tiny_pipeline()), [MIXED[0]])[0]
    assert same(images[0], alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": {"age-old": 1.0}}, r"gates: got \['age-old'\], loaded are"),
        ({"num_steps": 0}, "num_steps: got 0"),
        ({"width_px": 17, "height_px": 16}, "size: got 17x16, allowed are multiples of 4"),
        ({"width_px": 16}, "size: got 16x0"),
    ],
)
def test_what_cannot_be_painted_is_refused_at_once(change: dict, message: str) -> None:
    engine = open_engine(tiny_pipeline())
    with pytest.raises(ValueError, match=message):
        engine.submit([MIXED[1], replace(MIXED[0], **change)])
    assert engine.pending == 0


def test_an_adapter_that_does_not_fit_is_found_before_it_is_loaded() -> None:
    engine = open_engine(tiny_pipeline())
    adapter = make_adapter(tiny_pipeline())
    path = next(iter(adapter.directions))
    down, up = adapter.directions[path]
    wrong = replace(adapter, directions=adapter.directions | {path: (down[:, 1:], up)})
    engine.bank.check("gender-woman@2", adapter.directions)
    with pytest.raises(ValueError, match=r"'gender-woman@2' on .*: got A \(2, "):
        engine.bank.check("gender-woman@2", wrong.directions)
    foreign = replace(adapter, directions=adapter.directions | {"mid.nowhere": (down, up)})
    with pytest.raises(ValueError, match="other projections than the bank's"):
        engine.bank.check("gender-woman@2", foreign.directions)


def test_engines_on_one_model_come_and_go(pipe: StableDiffusionPipeline) -> None:
    """Each paints the same, and once they are closed no hook is left."""
    job = replace(MIXED[1], gates={})
    engines = [Engine(load_backbone(pipe)) for _ in range(3)]
    expected = engines[0].paint([job])[0]
    layers = [pipe.unet.get_submodule(path) for path in engines[0].bank.projections]
    registries = [HookRegistry.check_if_exists_or_initialize(layer) for layer in layers]
    assert any(registry.hooks for registry in registries)
    for engine in engines:
        assert same(engine.paint([job])[0], expected)
        engine.close()
    assert not any(registry.hooks for registry in registries)
    assert not any(layer._forward_hooks for layer in layers)
