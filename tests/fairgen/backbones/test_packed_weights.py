"""What packed weights compute is what the layers compute."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from diffusers.hooks import HookRegistry, ModelHook
from torch import nn

from fairgen.backbones import (
    Backbone,
    has_bfloat16_units,
    load_backbone,
    pack_weights,
    round_to_bfloat16,
)
from fairgen.engine import Engine, ImageJob, ImageResult
from tests.families import tiny

CPU = torch.device("cpu")
needs_units = pytest.mark.skipif(not has_bfloat16_units(CPU), reason="needs units for bfloat16")


def layers() -> Iterator[tuple[nn.Module, list[torch.Size]]]:
    """Layers, and the shapes of what they are given, one after the other."""
    squares = [torch.Size([n, 16, side, side]) for side in (4, 8, 32, 9) for n in (1, 2, 7)]
    yield nn.Conv2d(16, 24, 3, padding=1), squares
    yield nn.Conv2d(16, 8, 3, padding=1, stride=2, bias=False), squares
    yield nn.Conv2d(16, 32, 1, groups=4), squares
    texts = [torch.Size([n, length, 16]) for n in (1, 2, 7) for length in (1, 77)]
    yield nn.Linear(16, 24), texts
    yield nn.Linear(16, 24, bias=False), [*texts, torch.Size([5, 16])]


@needs_units
@pytest.mark.parametrize(("layer", "shapes"), layers(), ids=str)
def test_of_any_shape_the_numbers_are_the_layers_own(
    layer: nn.Module, shapes: list[torch.Size]
) -> None:
    layer.to(torch.bfloat16)
    given = [torch.randn(shape, dtype=torch.bfloat16) for shape in shapes]
    with torch.inference_mode():
        before = [layer(x) for x in given]
        assert pack_weights([layer], CPU) == 1
        for _ in range(2):
            for x, expected in zip(given, before, strict=True):
                torch.testing.assert_close(layer(x), expected)
                turned = x.transpose(-1, -2).contiguous().transpose(-1, -2)
                torch.testing.assert_close(layer(turned), expected)


@needs_units
def test_gradients_and_other_precisions_pass_as_before() -> None:
    layer, x = nn.Linear(16, 24).to(torch.bfloat16), torch.randn(2, 16)
    pack_weights([layer], CPU)
    given = x.bfloat16().requires_grad_()
    layer(given).sum().backward()
    torch.testing.assert_close(given.grad, layer.weight.sum(0).expand(2, 16))
    exact = nn.Linear(16, 24)
    exact.load_state_dict(layer.state_dict())
    with torch.inference_mode():
        layer(x.bfloat16())  # an input of that shape is known
    layer.float()  # as a codec is that overflows
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), exact(x))


@needs_units
@pytest.mark.parametrize("family", ["SD 1.x", "SD 3"])
def test_pictures_with_adapters_are_the_same(family: str) -> None:
    plain, packed = (tiny(family) for _ in range(2))
    backbones = [load_backbone(pipe) for pipe in (plain, packed)]
    for backbone in backbones:
        round_to_bfloat16(backbone)
    assert pack_weights([backbones[1].denoiser], CPU) > 20
    (bare, adapted), (bare_packed, adapted_packed) = map(painted, backbones)
    assert (bare - adapted).abs().mean() > 5
    assert (bare - bare_packed).abs().mean() < 1  # both are rounded
    assert (adapted - adapted_packed).abs().mean() < 1


def painted(backbone: Backbone) -> list[torch.Tensor]:
    """Return two pictures' pixels, without an adapter and with one."""
    engine, generator = Engine(backbone), torch.Generator().manual_seed(0)
    directions = {}
    for path, layer in engine.bank.layers.items():
        down = torch.randn(2, layer.in_features, generator=generator)
        directions[path] = down, torch.randn(layer.out_features, 2, generator=generator)
    engine.bank.add("woman", directions)
    jobs = [ImageJob("a doctor", seed=1, num_steps=3, gates={"woman": gate}) for gate in (0.0, 1.0)]
    engine.submit(jobs)
    images = {e.index: e.image for e in engine.run() if isinstance(e, ImageResult) and e.final}
    engine.close()
    return [torch.from_numpy(np.asarray(images[index], dtype="float32")) for index in (0, 1)]


@needs_units
def test_what_is_hooked_padded_otherwise_or_in_float32_is_left_alone() -> None:
    hooked = nn.Linear(4, 4).to(torch.bfloat16)
    HookRegistry.check_if_exists_or_initialize(hooked).register_hook(ModelHook(), "other")
    padded = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect").to(torch.bfloat16)
    same = nn.Conv2d(4, 4, 3, padding="same").to(torch.bfloat16)
    assert pack_weights([hooked, padded, same, nn.Linear(4, 4)], CPU) == 0


@needs_units
def test_of_a_large_model_nothing_is_held_twice() -> None:
    def model(num_layers: int) -> nn.Module:  # of 8 MiB a layer
        wide = [nn.Linear(4096, 1024, bias=False) for _ in range(num_layers)]
        return nn.Sequential(*wide).to(torch.bfloat16)

    assert pack_weights([model(8)], CPU) == 8
    assert pack_weights([model(9)], CPU) == pack_weights([model(5), model(4)], CPU) == 0


def test_where_there_are_no_units_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert pack_weights([nn.Linear(4, 4).to(torch.bfloat16)], CPU) == 0
    assert pack_weights([nn.Linear(4, 4).to(torch.bfloat16)], torch.device("cuda")) == 0
