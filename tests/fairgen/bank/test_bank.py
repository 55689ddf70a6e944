"""Any mix of adapters per row equals one row at a time, and zero gates are the bare model."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from fairgen.adapters import save_adapter
from fairgen.backbones import load_backbone
from fairgen.bank import AdapterBank
from fairgen.gradients import sound_gradients
from tests.fairgen.test_adapters import make_adapter


def random_directions(bank: AdapterBank, rank: int, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return directions large enough to see, for every projection of the bank."""
    generator = torch.Generator().manual_seed(seed)
    directions = {}
    for path in bank.projections:
        layer = bank.layers[path]
        down = torch.randn(rank, layer.in_features, generator=generator)
        directions[path] = (down, torch.randn(layer.out_features, rank, generator=generator))
    return directions


@pytest.fixture
def bank(pipe: StableDiffusionPipeline) -> AdapterBank:
    backbone = load_backbone(pipe)
    bank = AdapterBank(backbone.denoiser, backbone.projections("qkvo"))
    for seed, (name, rank) in enumerate([("gender-woman", 1), ("gender-man", 1), ("age-old", 3)]):
        bank.add(name, random_directions(bank, rank, seed))
    return bank


def denoise(pipe: StableDiffusionPipeline, rows: slice | list[int] | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    x, context = (
        torch.randn(4, 4, 8, 8, generator=generator),
        torch.randn(4, 16, 16, generator=generator),
    )
    t = torch.tensor([10, 300, 600, 990])
    rows = slice(None) if rows is None else rows
    with torch.no_grad():
        return pipe.unet(x[rows], t[rows], encoder_hidden_states=context[rows]).sample


MIXED = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.5, 0, 1], [0, 0, 0]])


def test_a_mixed_batch_equals_one_row_at_a_time(
    bank: AdapterBank, pipe: StableDiffusionPipeline
) -> None:
    with bank.gated(MIXED):
        together = denoise(pipe)
    for row in range(4):
        with bank.gated(MIXED[row : row + 1]):
            alone = denoise(pipe, [row])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_each_adapter_changes_its_own_rows_only(
    bank: AdapterBank, pipe: StableDiffusionPipeline
) -> None:
    bare = denoise(pipe)
    with bank.gated(MIXED):
        gated = denoise(pipe)
    changed = (bare - gated).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert changed.tolist() == [True, True, True, False]


def test_zero_gates_and_no_gates_are_the_bare_model_exactly(pipe: StableDiffusionPipeline) -> None:
    bare = denoise(pipe)
    backbone = load_backbone(pipe)
    bank = AdapterBank(backbone.denoiser, backbone.projections("qkvo"))
    bank.add("gender-woman", random_directions(bank, 2, 0))
    assert torch.equal(denoise(pipe), bare)
    with bank.gated(torch.zeros(4, 1)):
        assert torch.equal(denoise(pipe), bare)


def test_a_fresh_trainable_adapter_has_no_effect_but_a_gradient(
    pipe: StableDiffusionPipeline,
) -> None:
    backbone = load_backbone(pipe)
    bank = AdapterBank(backbone.denoiser, backbone.projections("qkvo"))
    bare = denoise(pipe)
    bank.add_trainable("gender-woman", 1, torch.Generator().manual_seed(0))
    with sound_gradients(pipe.unet), bank.gated(torch.ones(4, 1)):
        torch.testing.assert_close(denoise(pipe), bare)
        x = torch.randn(4, 4, 8, 8)
        pipe.unet(
            x, torch.tensor(5), encoder_hidden_states=torch.randn(4, 16, 16)
        ).sample.sum().backward()
    assert all(parameter.grad is not None for parameter in bank.parameters())
    assert all(parameter.grad is None for parameter in pipe.unet.parameters())


def test_removing_an_adapter_leaves_the_others_as_they_were(
    bank: AdapterBank, pipe: StableDiffusionPipeline
) -> None:
    with bank.gated(MIXED[2:3]):
        before = denoise(pipe, [2])
    bank.remove("gender-man")
    assert bank.names == ("gender-woman", "age-old")
    with bank.gated(torch.tensor([[0.5, 1.0]])):
        torch.testing.assert_close(denoise(pipe, [2]), before)


def test_directions_come_back_as_they_went_in(bank: AdapterBank) -> None:
    wanted = random_directions(bank, 3, 2)
    for path, (down, up) in bank.directions("age-old").items():
        assert torch.equal(down, wanted[path][0]) and torch.equal(up, wanted[path][1])


def test_trainable_directions_are_full_precision_on_a_half_precision_model(
    pipe: StableDiffusionPipeline,
) -> None:
    unet = pipe.unet.to(torch.bfloat16)
    bank = AdapterBank(unet, load_backbone(pipe).projections("qkvo"))
    bank.add("gender-woman", random_directions(bank, 1, 0))
    assert {parameter.dtype for parameter in bank.parameters()} == {torch.bfloat16}
    bank.add_trainable("gender-man", 1, torch.Generator().manual_seed(0))
    assert {parameter.dtype for parameter in bank.parameters()} == {torch.float32}


@pytest.mark.parametrize("lora_first", [True, False])
def test_a_lora_of_diffusers_works_beside_the_bank(
    pipe: StableDiffusionPipeline, tmp_path: Path, lora_first: bool
) -> None:
    lora, ours = make_adapter(pipe), make_adapter(pipe, rank=1)
    ours = {path: (down, 0.5 * up) for path, (down, up) in ours.directions.items()}
    save_adapter(lora, tmp_path)

    def load_lora() -> None:
        pipe.load_lora_weights(tmp_path)

    def load_bank() -> AdapterBank:
        bank = AdapterBank(pipe.unet, list(ours))
        bank.add("ours", ours)
        return bank

    if lora_first:
        load_lora()
        bank = load_bank()
    else:
        bank = load_bank()
        load_lora()
    with bank.gated(torch.ones(4, 1)):
        both = denoise(pipe)
    bank.close()
    pipe.unload_lora_weights()
    sum_of_both = AdapterBank(pipe.unet, list(ours))
    sum_of_both.add("lora", lora.directions)
    sum_of_both.add("ours", ours)
    with sum_of_both.gated(torch.ones(4, 2)):
        torch.testing.assert_close(both, denoise(pipe), atol=1e-4, rtol=1e-4)


def test_closing_takes_the_bank_off(bank: AdapterBank, pipe: StableDiffusionPipeline) -> None:
    bare = denoise(pipe)
    bank.close()
    assert torch.equal(denoise(pipe), bare)
    with pytest.raises(ValueError, match="the bank is closed"), bank.gated(torch.ones(4, 3)):
        pass


def test_errors_name_what_was_got_and_what_is_allowed(
    bank: AdapterBank, pipe: StableDiffusionPipeline
) -> None:
    shape = r"gates: got shape \(4, 2\), allowed is rows x 3"
    with pytest.raises(ValueError, match=shape), bank.gated(torch.zeros(4, 2)):
        pass
    rows = "gates: got 2 rows, the denoiser's batch has 4"
    with pytest.raises(ValueError, match=rows), bank.gated(torch.ones(2, 3)):
        denoise(pipe)
    inside = "already inside"
    with pytest.raises(ValueError, match=inside), bank.gated(MIXED), bank.gated(MIXED):
        pass
    with pytest.raises(ValueError, match="'age-old', which is loaded already"):
        bank.add("age-old", random_directions(bank, 1, 0))
    with pytest.raises(ValueError, match="got 'age-young', loaded are"):
        bank.remove("age-young")
    with pytest.raises(ValueError, match=r"got other projections than the bank's, .*\['conv_in'\]"):
        bank.add("age-young", {"conv_in": (torch.zeros(1, 4), torch.zeros(8, 1))})
    with pytest.raises(ValueError, match="directions of 'age-young': got none, allowed are"):
        bank.add("age-young", {})
    with pytest.raises(ValueError, match=r"a Conv2d, allowed are nn\.Linear"):
        AdapterBank(pipe.unet, ["conv_in"])


def test_adapters_of_other_projections_share_a_bank(pipe: StableDiffusionPipeline) -> None:
    backbone = load_backbone(pipe)
    bank = AdapterBank(backbone.denoiser, backbone.projections("qkvo"))
    whole = random_directions(bank, 2, seed=0)
    only_kv = {path: whole[path] for path in backbone.projections("kv")}
    bank.add("age-old", random_directions(bank, 1, seed=1))
    bank.add("gender-woman", only_kv)
    bank.add(
        "gender-man", whole | {p: (d, 0 * u) for p, (d, u) in whole.items() if p not in only_kv}
    )
    with bank.gated(torch.tensor([[0.0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]])):
        lacking = denoise(pipe)
    with bank.gated(torch.tensor([[0.0, 0, 1], [1, 0, 1], [0, 0, 0], [1, 0, 0]])):
        zero = denoise(pipe)
    torch.testing.assert_close(lacking, zero, atol=1e-5, rtol=1e-5)
    assert bank.directions("gender-woman").keys() == whole.keys()


def test_training_does_not_begin_from_directions_of_another_rank(bank: AdapterBank) -> None:
    start = random_directions(bank, 2, seed=0)
    with pytest.raises(ValueError, match="start of 'gender-nb': got rank 2, allowed is 4"):
        bank.add_trainable("gender-nb", 4, torch.Generator(), start)
    assert "gender-nb" not in bank.names
