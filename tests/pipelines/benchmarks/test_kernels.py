"""The benchmark compares ways that compute the same."""

import pytest
import torch
from diffusers import StableDiffusionPipeline

from fairgen.backbones import load_backbone
from pipelines.benchmarks.kernels import (
    engine_figures,
    full_size_figures,
    paired_ratio,
    pass_figures,
    position_figures,
)
from pipelines.benchmarks.memory_estimate import full_size_shapes


def test_a_pass_at_positions_is_measured_on_shapes_of_any_width() -> None:
    small = {"dim": 32, "n_heads": 2, "n_kv_heads": 2, "axes_dims": [4, 6, 6],
             "axes_lens": [1024, 64, 64]}  # fmt: skip
    shape = full_size_shapes()["zimage"].model_copy(update={"config": small})
    figures = position_figures(shape, {"n_layers": 1, "n_refiner_layers": 1}, 64, 32, rank=2)
    assert figures.keys() == {"bank_at_positions_full_width"} and min(figures.values()) > 0


def test_a_slow_turn_slows_neither_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now, turns = [0.0], [0]
    monkeypatch.setattr("pipelines.benchmarks.kernels.time.perf_counter", lambda: now[0])

    def takes(seconds: float) -> None:
        turns[0] += 1
        now[0] += seconds * (7 if turns[0] % 6 == 4 else 1)  # one round in three is spoilt

    assert paired_ratio(lambda: takes(3.0), lambda: takes(2.0), rounds=9) == pytest.approx(1.5)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_every_figure_is_measured_and_the_base_stays_bare(pipe: StableDiffusionPipeline) -> None:
    backbone = load_backbone(pipe)
    x, t = torch.randn(2, *backbone.latent_shape()), torch.tensor([1, 999])
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    bare = backbone.denoise(x, t, backbone.encode(["a doctor", "a nurse"]))
    figures = (
        engine_figures(backbone, rank=2, projections="kv", num_steps=2, rounds=1)
        | pass_figures(backbone, num_rows=3, rounds=1)
        | full_size_figures(backbone, num_rows=2, rank=1, projections="qkvo", rounds=1)
    )
    assert set(figures) == {
        "bank_overhead", "bank_64_over_2", "key_values_once", "peft_over_bank",
        "switching_over_bank", "bank_overhead_qkvo_full_size",
    }  # fmt: skip
    assert all(value > 0 for value in figures.values())
    after = pipe.unet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(backbone.denoise(x, t, backbone.encode(["a doctor", "a nurse"])), bare)
