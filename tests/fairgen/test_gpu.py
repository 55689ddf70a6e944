"""On a GPU the engine and discovery do what they do on a CPU, in every family."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from fairgen.adapters import Adapter
from fairgen.backbones import Backbone, load_backbone
from fairgen.engine import Engine, ImageJob
from tests.fairgen.backbones.test_families import PROMPT, discovery, learnt, options_of, paint
from tests.families import FAMILIES, size_of, tiny

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Let convolutions compute in fp32, not in TF32: otherwise a CPU cannot be compared with."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def backbone_on(device: str, family: str, dtype: torch.dtype = torch.float32) -> Backbone:
    pipe = tiny(family).to(device, dtype)
    return load_backbone(pipe, size_of(pipe))


def mixed(adapters: list[Adapter]) -> list[ImageJob]:
    woman, man = (adapter.name for adapter in adapters)
    return [
        ImageJob(PROMPT, 1, {woman: 1.0}, num_steps=4, guidance_scale=4.0),
        ImageJob("a nurse", 2, {man: 1.0}, num_steps=3, guidance_scale=1.0),
        ImageJob("a pilot", 3, {}, num_steps=5, guidance_scale=2.0),
    ]


def engine_with(adapters: list[Adapter], backbone: Backbone) -> Engine:
    engine = Engine(backbone)
    for adapter in adapters:
        engine.load(adapter.name, adapter)
    return engine


def apart(one: Image.Image, other: Image.Image) -> float:
    """Return the largest difference of two pictures, of 255."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).max())


@families
def test_the_engine_paints_what_the_family_s_own_pipeline_paints(family: str) -> None:
    pipe = tiny(family).to("cuda")
    generator = torch.Generator().manual_seed(7)  # noise of a CPU: the same on every device
    plain = pipe(PROMPT, generator=generator, **options_of(pipe))[0][0]
    picture = ImageJob(PROMPT, 7, num_steps=4, guidance_scale=4.0)
    (ours,) = paint(Engine(load_backbone(pipe, size_of(pipe))), [picture])
    assert np.asarray(plain).std() > 20
    assert apart(ours, plain) <= 1


@families
def test_a_mixed_batch_is_that_of_a_cpu(family: str) -> None:
    adapters = learnt(backbone_on("cpu", family))
    there, here = (
        paint(engine_with(adapters, backbone_on(device, family)), mixed(adapters))
        for device in ("cuda", "cpu")
    )
    assert max(map(apart, there, here)) <= 2


@families
def test_discovery_learns_what_it_learns_on_a_cpu(family: str) -> None:
    there, here = (learnt(backbone_on(device, family)) for device in ("cuda", "cpu"))
    for one, other in zip(there, here, strict=True):
        for path, (down, up) in one.directions.items():
            torch.testing.assert_close(down, other.directions[path][0], rtol=1e-2, atol=1e-4)
            torch.testing.assert_close(up, other.directions[path][1], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@families
def test_half_precision_learns_and_paints(family: str, dtype: torch.dtype) -> None:
    found = discovery(backbone_on("cuda", family, dtype))
    assert all(np.isfinite(found.update().loss) for _ in range(3))
    found.bank.close()
    adapters = learnt(backbone_on("cuda", family, dtype))
    engine = engine_with(adapters, backbone_on("cuda", family, dtype))
    together = paint(engine, mixed(adapters))
    alone = [paint(engine, [picture])[0] for picture in mixed(adapters)]
    assert all(np.asarray(image).std() > 0 for image in together)
    assert max(map(apart, together, alone)) <= 64  # other kernels for other batches


@families
def test_training_interrupted_on_a_gpu_goes_on_the_same(family: str) -> None:
    whole, before = discovery(backbone_on("cuda", family)), discovery(backbone_on("cuda", family))
    for _ in range(4):
        whole.update()
    for _ in range(2):
        before.update()
    after = discovery(backbone_on("cuda", family))
    after.load_state_dict(before.state_dict())
    for _ in range(2):
        after.update()
    for one, other in zip(whole.bank.parameters(), after.bank.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@families
def test_parts_that_wait_in_main_memory_paint_the_same(family: str) -> None:
    adapters = learnt(backbone_on("cpu", family))
    offloaded = tiny(family)
    offloaded.enable_model_cpu_offload()
    waiting = paint(
        engine_with(adapters, load_backbone(offloaded, size_of(offloaded))), mixed(adapters)
    )
    there = paint(engine_with(adapters, backbone_on("cuda", family)), mixed(adapters))
    assert max(map(apart, waiting, there)) <= 1
