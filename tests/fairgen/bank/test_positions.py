"""Adapters act at the positions, and on the columns, that are the prompt's."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from fairgen.bank import AdapterBank, TextPositions
from tests.fairgen.backbones.test_families import PROMPT, adapters_of, denoised, open_backbone

N, S, WIDTH, OUT, RANK = 4, 6, 5, 8, 2
GATES = torch.tensor([[1.0, 0.0], [0.0, 0.5], [1.0, 1.0], [0.0, 0.0]])
MASKS = {
    "of different lengths": torch.arange(S) < torch.tensor([2, 5, 3, 1])[:, None],
    "behind others": torch.arange(S).expand(N, -1) >= 4,
    "with gaps": torch.tensor([[0, 1, 0, 1, 0, 0]]).bool().expand(N, -1),
    "everywhere": torch.ones(N, S, dtype=torch.bool),
    "nowhere": torch.zeros(N, S, dtype=torch.bool),
    "in some rows": torch.tensor([[0] * S, [1] * S, [0] * S, [1] * S]).bool(),
}


class Layer(nn.Module):
    """A denoiser of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.to_k = nn.Linear(WIDTH, OUT)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_k(x)


def made(columns: slice = slice(None)) -> tuple[Layer, AdapterBank, list[tuple[Tensor, Tensor]]]:
    """Return a layer, a bank of two adapters on some of its columns, and these."""
    torch.manual_seed(0)
    layer, pairs = Layer(), []
    bank = AdapterBank(layer, ["to_k"], columns={"to_k": columns})
    for name in "ab":
        down, up = torch.randn(RANK, WIDTH), torch.zeros(OUT, RANK)
        up[columns] = torch.randn(up[columns].shape)
        bank.add(name, {"to_k": (down, up)})
        pairs.append((down, up))
    return layer, bank, pairs


def expected(layer: Layer, pairs: list[tuple[Tensor, Tensor]], x: Tensor, mask: Tensor) -> Tensor:
    """Return W x + ((x A^T) * g_n * m_ni) B^T, row by row and position by position."""
    y = layer(x)
    for n, i, k in itertools.product(range(N), range(S), range(2)):
        down, up = pairs[k]
        y[n, i] += GATES[n, k] * mask[n, i] * (up @ (down @ x[n, i]))
    return y


@pytest.mark.parametrize("columns", [slice(None), slice(2, 5), slice(4, None)])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@torch.no_grad()
def test_the_line_holds_at_the_positions_that_are_text(mask: Tensor, columns: slice) -> None:
    layer, bank, pairs = made(columns)
    x = torch.randn(N, S, WIDTH)
    wanted = expected(layer, pairs, x, mask)
    where = {"to_k": TextPositions(mask)}
    with bank.gated(GATES, where):
        whole = layer(x)
    with bank.gated(GATES, where):
        parts = torch.cat([layer(x[:1]), layer(x[1:3]), layer(x[3:])])
    torch.testing.assert_close(whole, wanted)
    torch.testing.assert_close(parts, wanted)


def test_a_range_holds_all_text_and_no_more() -> None:
    spans = {name: TextPositions(mask).span for name, mask in MASKS.items()}
    assert spans == {
        "of different lengths": slice(0, 5), "behind others": slice(4, 6),
        "with gaps": slice(1, 4), "everywhere": slice(0, 6), "nowhere": slice(0, 0),
        "in some rows": slice(0, 6),
    }  # fmt: skip
    assert [name for name, mask in MASKS.items() if TextPositions(mask).is_whole] == [
        "behind others", "everywhere", "nowhere",
    ]  # fmt: skip


def test_sequences_of_another_length_are_refused() -> None:
    layer, bank, _ = made()
    where = {"to_k": TextPositions(MASKS["everywhere"])}
    with (
        pytest.raises(ValueError, match=r"positions: got \(4, 6\) for to_k, which reads 4 rows of"),
        bank.gated(GATES, where),
    ):
        layer(torch.randn(N, S + 1, WIDTH))


def test_directions_outside_the_columns_are_refused_and_others_come_back_whole() -> None:
    _, bank, pairs = made(slice(2, 5))
    for name, pair in zip("ab", pairs, strict=True):
        for one, other in zip(bank.directions(name)["to_k"], pair, strict=True):
            torch.testing.assert_close(one, other)
    everywhere = {"to_k": (torch.ones(RANK, WIDTH), torch.ones(OUT, RANK))}
    with pytest.raises(ValueError, match="change other columns of its output than 2 to 5"):
        bank.add("c", everywhere)


def test_what_trains_trains_at_the_positions_and_on_the_columns_only() -> None:
    layer = Layer()
    bank = AdapterBank(layer, ["to_k"], columns={"to_k": slice(2, 5)})
    bank.add_trainable("a", RANK, torch.Generator().manual_seed(0))
    x = torch.randn(N, S, WIDTH, requires_grad=True)
    with bank.gated(torch.ones(N, 1), {"to_k": TextPositions(MASKS["behind others"])}):
        layer(x).square().sum().backward()
    gradient = bank.B["to_k"].grad
    assert gradient is not None and gradient.shape == (3, RANK) and bool(gradient.any())
    alone = layer(x[:, 4:]).detach()[..., 2:5]
    by_hand = 2 * torch.einsum("nio,nir->or", alone, x[:, 4:].detach() @ bank.A["to_k"].detach().T)
    torch.testing.assert_close(gradient, by_hand)


@pytest.mark.parametrize("family", ["Z-Image", "FLUX.2 klein base", "AuraFlow"])
def test_tokens_of_the_picture_those_that_fill_up_and_the_template_s_head_feel_nothing(
    family: str,
) -> None:
    backbone = open_backbone(family)
    (woman, _) = adapters_of(family, 4)
    bank = AdapterBank(backbone.denoiser, list(woman.directions), columns=backbone.columns())
    bank.add("woman", woman.directions)
    context = backbone.encode([PROMPT, "a nurse"])
    positions = backbone.text_positions(context, backbone.latent_shape())
    assert positions is not None
    path = next(p for p in bank.projections if p.startswith(("layers.0", "single_transformer")))
    layer, where, seen = backbone.denoiser.get_submodule(path), positions[path], []
    with bank.gated(torch.ones(2, 1), positions):
        bare = type(layer).forward
        handle = layer.register_forward_hook(
            lambda _, inputs, output: seen.append(output - bare(layer, inputs[0]))
        )
        denoised(backbone)
        handle.remove()
    changed = seen[0].abs().amax(-1) > 0
    assert torch.equal(changed, where.mask_NS)
    num_words = len(backbone.pipe.tokenizer("a nurse")["input_ids"])
    num_text = int(where.mask_NS[1].sum())
    assert num_words <= num_text < where.mask_NS.shape[1]


@pytest.mark.parametrize("family", ["Z-Image", "FLUX.2 klein"])
def test_the_first_token_that_is_adapted_is_the_prompt_s_own(family: str) -> None:
    backbone, prompt = open_backbone(family), "nurse in a blue coat"
    positions = backbone.text_positions(backbone.encode([prompt]), backbone.latent_shape())
    assert positions is not None
    alone = next(p for p in positions if p.startswith(("context_refiner", "transformer_blocks")))
    tokenizer = backbone.pipe.tokenizer
    text, _ = backbone.as_read(prompt, "")
    first = int(positions[alone].mask_NS[0].nonzero()[0])
    assert first > 0
    assert tokenizer(text)["input_ids"][first] == tokenizer(prompt)["input_ids"][0]
