"""Directions act in full on weights that are stored in less than they compute in, and the base
model is known however it is stored.
"""

from collections.abc import Callable

import bitsandbytes
import gguf
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter
from torch import Tensor, nn
from torchao.quantization import (
    Float8WeightOnlyConfig,
    Int8WeightOnlyConfig,
    quantize_,
)

from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint, is_same_base, storage_of
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.engine import Engine, ImageJob
from fairgen.pipeline import FairGenPipeline
from tests.families import as_the_engine, size_of, tiny
from tests.pipeline_options import adapters_for
from tests.tiny import GENDER


def _replace_linears(denoiser: nn.Module, make: Callable[[nn.Linear], nn.Module | None]) -> None:
    for module in list(denoiser.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and (found := make(child)) is not None:
                setattr(module, name, found)


def in_bfloat16(denoiser: nn.Module) -> None:
    denoiser.to(torch.bfloat16)


def in_float16(denoiser: nn.Module) -> None:
    denoiser.to(torch.float16)


def cast_by_layer(denoiser: nn.Module) -> None:
    denoiser.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)


def four_bits(denoiser: nn.Module) -> None:
    def make(layer: nn.Linear) -> nn.Module:
        found = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None,
            compute_dtype=torch.float32, quant_type="nf4",
        )  # fmt: skip
        found.load_state_dict(layer.state_dict())
        return found.to("cpu").requires_grad_(False)

    _replace_linears(denoiser, make)


def eight_bits(denoiser: nn.Module) -> None:
    def make(layer: nn.Linear) -> nn.Module:
        found = bitsandbytes.nn.Linear8bitLt(
            layer.in_features, layer.out_features, layer.bias is not None, has_fp16_weights=False
        )
        found.load_state_dict(layer.state_dict())
        return found.to("cpu").requires_grad_(False)

    _replace_linears(denoiser, make)


def in_int8(denoiser: nn.Module) -> None:
    quantize_(denoiser, Int8WeightOnlyConfig())


def in_float8(denoiser: nn.Module) -> None:
    quantize_(denoiser, Float8WeightOnlyConfig())


def from_gguf(denoiser: nn.Module) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0

    def make(layer: nn.Linear) -> nn.Module | None:
        if layer.in_features % 32:  # the block of this format: others stay as they are
            return None
        found = GGUFLinear(
            layer.in_features, layer.out_features, layer.bias is not None, torch.float32
        )
        packed = gguf.quants.quantize(layer.weight.detach().numpy(), kind)
        found.weight = GGUFParameter(torch.from_numpy(packed), quant_type=kind)
        found.bias = layer.bias
        return found

    _replace_linears(denoiser, make)


SIZES = {"SDXL": 0.5, "SANA": 0.5, "FLUX.1 dev": 8, "Qwen-Image": 2, "Krea 2 Raw": 2}  # are seen
STORAGES: dict[str, tuple[Callable[[nn.Module], None], str]] = {
    "bf16": (in_bfloat16, "bfloat16"),
    "fp16": (in_float16, "float16"),
    "layer-wise fp8": (cast_by_layer, "float8_e4m3fn, float32"),
    "bitsandbytes, 4 bits": (four_bits, "nf4, float32"),
    "bitsandbytes, 8 bits": (eight_bits, "int8, float32"),
    "torchao int8": (in_int8, "Int8Tensor, float32"),
    "torchao fp8": (in_float8, "Float8Tensor, float32"),
    "GGUF Q8_0": (from_gguf, "Q8_0, float32"),
}
pytestmark = pytest.mark.quantization
storages = pytest.mark.parametrize("storage", STORAGES)
families = pytest.mark.parametrize(
    "family",
    [
        "SDXL",
        *(
            pytest.param(f, marks=pytest.mark.full)
            for f in ("FLUX.1 dev", "SANA", "Qwen-Image", "Krea 2 Raw")
        ),
    ],
)


def stored(family: str, storage: str, seed: int = 0) -> DiffusionPipeline:
    """Return a tiny pipeline whose denoiser is kept in some storage."""
    pipe = tiny(family, seed)
    store, _ = STORAGES[storage]
    if storage in ("bf16", "fp16"):
        return pipe.to(torch.bfloat16 if storage == "bf16" else torch.float16)
    store(load_backbone(pipe).denoiser.requires_grad_(False))
    return pipe


@pytest.mark.cell("same base")
@storages
@families
def test_a_base_is_known_however_it_is_stored_and_another_is_not(family: str, storage: str) -> None:
    base = fingerprint(load_backbone(tiny(family)).denoiser)
    denoiser = load_backbone(stored(family, storage)).denoiser
    assert storage_of(denoiser) == STORAGES[storage][1]
    assert is_same_base(base, fingerprint(denoiser))
    other = fingerprint(load_backbone(stored(family, storage, seed=1)).denoiser)
    assert not is_same_base(base, other) and is_same_base(base, other, siblings=True)


@pytest.mark.cell("bank equality")
@storages
@families
def test_directions_act_in_full(family: str, storage: str) -> None:
    adapters = adapters_for(tiny(family))
    pipe = stored(family, storage)
    backbone = load_backbone(pipe)
    with FairGenPipeline(pipe, adapters) as fair:
        path = fair.bank.projections[1]
        layer = backbone.denoiser.get_submodule(path)
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(1, 5, layer.in_features, generator=generator).to(backbone.dtype)
        with torch.no_grad():
            bare = layer(x)
            directions = fair.bank.active_directions(torch.tensor([[1.0, 0.0]]), [path])
            with fair.bank.gated(directions):
                moved = layer(x) - bare
    down, up = adapters[0].directions[path]
    right = (x.float() @ down.T @ up.T).to(moved.dtype)
    torch.testing.assert_close(moved, right, atol=0.05, rtol=0.05)
    assert right.abs().max() > 0.5


@pytest.mark.cell("engine equality")
@storages
@families
def test_the_engine_equals_the_pipeline_bare_and_gated(family: str, storage: str) -> None:
    adapters = adapters_for(tiny(family), size=SIZES[family])
    pipe = stored(family, storage)
    call = as_the_engine(pipe, 3, guidance_scale=3.0)
    with FairGenPipeline(pipe, adapters) as fair:
        theirs = [
            fair("a doctor", 1, fairness, seed=7, **call).images[0]
            for fairness in ("off", {"gender": {"woman": 1.0}})
        ]
        assert fair("a doctor", 1, "off", **call).records[0].storage == STORAGES[storage][1]
    engine = Engine(load_backbone(pipe, size_of(pipe)))
    engine.load("woman", adapters[0])
    jobs = [
        ImageJob("a doctor", 7, gates, num_steps=3, guidance_scale=3.0)
        for gates in ({}, {"woman": 1.0})
    ]
    ours = engine.paint(jobs)
    engine.close()
    allowed = 12 if "16" in storage else 2  # grey levels: a batch rounds otherwise than a row
    for one, other in zip(theirs, ours, strict=True):
        assert np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= allowed
    assert np.abs(np.asarray(ours[0], float) - np.asarray(ours[1], float)).max() > 2 * allowed


@pytest.mark.cell("train", "refused")
@pytest.mark.parametrize("storage", ["layer-wise fp8"])
def test_what_is_cast_layer_by_layer_does_not_train(storage: str) -> None:
    with pytest.raises(ValueError, match="cast layer by layer, through which no gradient"):
        learn(stored("SDXL", storage))


@pytest.mark.cell("train")
@pytest.mark.parametrize("storage", [name for name in STORAGES if name != "layer-wise fp8"])
def test_adapters_are_learnt_on_stored_weights_as_on_plain_ones(storage: str) -> None:
    plain, found = learn(tiny("SDXL")), learn(stored("SDXL", storage))
    assert found.abs().max() > 1e-3
    assert torch.nn.functional.cosine_similarity(plain, found, dim=0) > 0.5


def learn(pipe: DiffusionPipeline) -> Tensor:
    """Return what a category's adapter has learnt after two updates, as one vector."""
    config = DiscoveryConfig(num_updates=2, num_rows=4, num_steps=2, rank=2, learning_rate=3e-2)
    backbone = load_backbone(pipe, size_of(pipe))
    discovery = Discovery(backbone, GENDER, ("doctor",), ("a photo of {subject}",), config)
    for _ in range(config.num_updates):
        assert np.isfinite(discovery.update().relative_error)
    discovery.bank.close()
    (woman, _) = discovery.adapters(fingerprint(backbone.denoiser), "0123")
    return torch.cat([up.flatten() for _, up in woman.directions.values()])
