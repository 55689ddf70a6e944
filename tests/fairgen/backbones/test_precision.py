"""bfloat16 on a CPU: chosen where it is faster; the same base, nearly the same pictures."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairgen.backbones import (
    Backbone,
    compute_in_bfloat16_where_faster,
    has_bfloat16_units,
    load_backbone,
    round_to_bfloat16,
    seconds_of_pass,
)
from fairgen.base_model import fingerprint, is_same_base, storage_of
from fairgen.discovery import Discovery, DiscoveryConfig
from fairgen.engine import Engine, ImageJob
from fairgen.portraits import MODEL
from tests.families import FAMILIES, size_of, tiny
from tests.tiny import GENDER

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
WORDS = ("doctor", "nurse", "pilot", "judge", "sailor", "dancer")
JOBS = [
    ImageJob(f"a photo of a {word}", seed, num_steps=8, guidance_scale=3.0)
    for seed, word in enumerate(WORDS)
]


def portraits() -> Backbone:
    return load_backbone(StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32))


def painted(engine: Engine, jobs: list[ImageJob]) -> list[np.ndarray]:
    return [np.asarray(image, float) for image in engine.paint(jobs)]


def test_a_picture_is_the_same_in_any_batch_and_nearly_that_of_float32() -> None:
    own = painted(Engine(portraits()), JOBS)
    backbone = portraits()
    round_to_bfloat16(backbone)
    engine = Engine(backbone)
    guidance_off = [replace(job, guidance_interval=(0.0, 0.5)) for job in JOBS[:2]]
    together = painted(engine, [*JOBS, *guidance_off])
    for job, image in zip(JOBS, together, strict=False):
        assert np.abs(image - painted(engine, [job])[0]).max() <= 1  # what rounding to 8 bits does
    for image, exact in zip(together, own, strict=False):
        assert np.abs(image - exact).max() <= 16 and np.abs(image - exact).mean() <= 0.5


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_paints_in_bfloat16_on_the_same_base(family: str) -> None:
    pipe = tiny(family)
    known = fingerprint(load_backbone(pipe).denoiser)
    backbone = load_backbone(pipe, size_of(pipe))
    round_to_bfloat16(backbone)
    keeps_some = bool(getattr(backbone.denoiser, "_keep_in_fp32_modules", None))
    stored = "bfloat16, float32" if keeps_some else "bfloat16"
    assert backbone.dtype == torch.bfloat16 and storage_of(backbone.denoiser) == stored
    assert backbone.fingerprint == known != fingerprint(backbone.denoiser)
    assert is_same_base(known, fingerprint(backbone.denoiser))
    assert seconds_of_pass(backbone, 2) > 0  # by which either precision is measured
    job = ImageJob("a photo of a doctor", 1, num_steps=2, guidance_scale=2.0)
    assert painted(Engine(backbone), [job])[0].std() > 0


def test_layers_that_a_model_keeps_in_float32_stay() -> None:
    pipe = tiny("SD 1.x")
    pipe.unet._keep_in_fp32_modules = ["time_embedding"]
    backbone = load_backbone(pipe)
    round_to_bfloat16(backbone)
    kept = {name for name, p in pipe.unet.named_parameters() if p.dtype == torch.float32}
    assert kept == {n for n, _ in pipe.unet.named_parameters() if n.startswith("time_embedding.")}


def test_measuring_leaves_a_base_as_it_is_or_rounds_all_of_it(tmp_path: Path) -> None:
    backbone = portraits()
    before = {name: p.detach().clone() for name, p in backbone.denoiser.named_parameters()}
    rounded = compute_in_bfloat16_where_faster(backbone, tmp_path)
    assert not rounded or has_bfloat16_units(CPU)
    for name, parameter in backbone.denoiser.named_parameters():
        expected = before[name].to(torch.bfloat16) if rounded else before[name]
        assert parameter.dtype == expected.dtype and torch.equal(parameter, expected)


def test_what_is_not_in_float32_or_not_on_a_cpu_is_left_alone() -> None:
    backbone = load_backbone(tiny("SD 1.x").to(torch.float16))
    assert not compute_in_bfloat16_where_faster(backbone)
    assert backbone.dtype == torch.float16
    assert not has_bfloat16_units(torch.device("cuda"))


@pytest.fixture
def units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that says to torch that it has units for bfloat16, which any can do without."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.mark.usefixtures("units")
def test_what_was_found_first_holds_for_whoever_comes_later(tmp_path: Path) -> None:
    compute_in_bfloat16_where_faster(portraits(), tmp_path)
    (kept,) = tmp_path.iterdir()
    for word, expected in (("bfloat16", True), ("float32", False)):
        kept.write_text(word)
        backbone = portraits()
        assert compute_in_bfloat16_where_faster(backbone, tmp_path) == expected
        assert (backbone.dtype == torch.bfloat16) == expected
    kept.write_text("neither")
    assert compute_in_bfloat16_where_faster(portraits(), tmp_path) in (True, False)
    other = load_backbone(tiny("SD 1.x"))
    compute_in_bfloat16_where_faster(other, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "another base is measured by itself"


@pytest.mark.usefixtures("units")
def test_who_measures_at_the_same_moment_computes_alike(tmp_path: Path) -> None:
    """Under load one finds this and another that: the first one's word holds."""
    backbones = [load_backbone(tiny("SD 1.x")) for _ in range(6)]
    for backbone in backbones:
        assert backbone.fingerprint == backbones[0].fingerprint
    with ThreadPoolExecutor(len(backbones)) as pool:
        found = set(pool.map(compute_in_bfloat16_where_faster, backbones, [tmp_path] * 6))
    assert len(found) == 1 and len(list(tmp_path.iterdir())) == 1
    assert {backbone.dtype == torch.bfloat16 for backbone in backbones} == found


@pytest.mark.usefixtures("units")
def test_where_nothing_can_be_kept_it_is_measured_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    compute_in_bfloat16_where_faster(load_backbone(tiny("SD 1.x")), tmp_path / "file")
    assert "each process measures for itself" in caplog.text


def test_discovery_learns_in_bfloat16_what_it_learns_in_float32() -> None:
    config = DiscoveryConfig(
        num_updates=16, num_rows=6, num_steps=4, learning_rate=0.02, rank=4, warmup=2
    )

    def errors(backbone: Backbone) -> list[float]:
        found = Discovery(backbone, GENDER, WORDS, ("a photo of {subject}",), config)
        return [found.update().relative_error for _ in range(config.num_updates)]

    backbone = portraits()
    round_to_bfloat16(backbone)
    exact, rounded = errors(portraits()), errors(backbone)
    assert exact[-1] < 0.9 * exact[0]
    assert rounded == pytest.approx(exact, abs=0.05)
