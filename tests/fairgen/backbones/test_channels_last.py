"""How weights lie in memory while an engine paints, and afterwards."""

import torch
from torch import nn

from fairgen.backbones import load_backbone, put_back, put_channels_last
from fairgen.base_model import fingerprint
from fairgen.engine import Engine
from tests.families import tiny


def convolutions(*modules: nn.Module) -> list[nn.Conv2d]:
    return [layer for m in modules for layer in m.modules() if isinstance(layer, nn.Conv2d)]


def test_an_engine_lays_weights_out_for_the_cpu_and_back() -> None:
    pipe = tiny("SD 1.x")
    layers = convolutions(pipe.unet, pipe.vae)
    before = [layer.weight.clone() for layer in layers]
    known = fingerprint(pipe.unet)
    engine = Engine(load_backbone(pipe))
    wide = [layer for layer in layers if min(layer.weight.shape[1:3]) > 1]
    assert wide and all(
        layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in wide
    )
    assert fingerprint(pipe.unet) == known
    engine.close()
    for layer, weight in zip(layers, before, strict=True):
        assert layer.weight.is_contiguous()
        assert torch.equal(layer.weight, weight)


def test_on_another_device_nothing_changes() -> None:
    pipe = tiny("SD 1.x")
    assert put_channels_last((pipe.unet,), torch.device("cuda")) == []
    assert all(layer.weight.is_contiguous() for layer in convolutions(pipe.unet))


def test_a_layout_that_is_there_already_stays() -> None:
    pipe = tiny("SD 1.x")
    pipe.unet.to(memory_format=torch.channels_last)
    changed = put_channels_last((pipe.unet,), torch.device("cpu"))
    put_back(changed)
    assert pipe.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
