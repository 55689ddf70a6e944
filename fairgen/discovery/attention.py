"""Composed attention: each cross-attention's output learns to be what the frozen one's are.

Adapters act where the prompt is read. So the composition of `fairgen.discovery.predictions` can be
asked for there: for a layer's own input h, on its way to a picture of the category's word, and its
output a(h, prompt),

    target_k(h) = a(h, g) + eta * (a(h, d_k) - a(h, g))
    L_k = mean over layers of || a_k(h, g) - target_k(h) ||^2 / || target_k(h) - a(h, g) ||^2

and what is preserved likewise. If every layer answered so, the model's prediction would be that for
the word. No gradient passes the denoiser, and each state of a path serves several steps of the
optimiser. The layers' own least squares instead of the prediction's is
the idea of UCE (arXiv 2308.14761), here of what attention makes of keys and values.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank
from fairgen.discovery.adapting import Adapting, Batch, Losses
from fairgen.gradients import sound_gradients

NUM_TOKENS = 48  # of a layer's input, drawn anew for each update
Layers = Mapping[str, Tensor]


class AdaptedAttention(nn.Module):
    """The part that takes gradients, the adapted layers: what data parallelism wraps."""

    def __init__(self, backbone: Backbone, bank: AdapterBank) -> None:
        """Raises ValueError for a denoiser whose attention reads more than the prompt."""
        super().__init__()
        self.bank = bank
        self._dtype = backbone.dtype
        self.layers = _cross_attention(backbone, bank)

    def forward(self, inputs: Layers, text: Tensor) -> dict[str, Tensor]:
        """Return each layer's output for its input, N x tokens x dim, and embedded prompts,
        N x L x dim, under the gates that are set.
        """
        text = text.to(self._dtype)
        return {
            path: layer(inputs[path], encoder_hidden_states=text).float()
            for path, layer in self.layers.items()
        }


class ComposedAttention:
    """One update's targets and losses, of a batch that stays as it is."""

    def __init__(
        self,
        adapting: Adapting,
        adapted: Any,
        layers: Mapping[str, Attention],
        batch: Batch,
        generator: torch.Generator,
    ) -> None:
        """`adapted` is an `AdaptedAttention`, as it may be wrapped, `layers` are its own. Runs the
        frozen model once.
        """
        self._adapting, self._adapted, self._batch = adapting, adapted, batch
        self._look(adapting.backbone, layers, generator)
        self.relative_error = torch.zeros(())
        self.gradient_rows = 0
        self.denoiser_rows = batch.guided.num_denoiser_rows

    def losses(self) -> Iterator[Losses]:
        """Yield the losses of as many steps of the optimiser as the configuration says; the gates
        stay set until the next are asked for.
        """
        batch, adapting = self._batch, self._adapting
        N, denoiser = len(batch.rows), adapting.backbone.denoiser
        text = adapting.prompts.stack(batch.adapted_prompts)["text"]
        gates, peer_gates = adapting.gates(batch), adapting.peer_gates(batch)
        for step in range(adapting.config.steps_per_state):
            with (
                sound_gradients(denoiser, NUM_TOKENS),
                adapting.bank.gated(gates),
                adapting.peers.gated(peer_gates),
            ):
                outputs = self._adapted(self._inputs, text)
                missed = {
                    path: (out - self._targets[path]).square() / self._moved[path]
                    for path, out in outputs.items()
                }
                loss = torch.stack([value[:N].mean() for value in missed.values()]).mean()
                keep = torch.stack([value[N:].mean() for value in missed.values()]).mean()
                yield Losses(loss, keep, ends_step=True)
            if step == 0:  # what it was before these states were learnt from
                self.relative_error = loss.detach().sqrt()

    def leading(self) -> Tensor:
        """Return the predictions that lead from state to state: the frozen model's for the
        category's words, guided where the rows are.
        """
        return self._leading

    @torch.no_grad()
    def _look(
        self, backbone: Backbone, layers: Mapping[str, Attention], generator: torch.Generator
    ) -> None:
        """Keep what the frozen model's layers are given and answer on the words' path."""
        batch, adapting = self._batch, self._adapting
        N, layout, prompts = len(batch.rows), batch.guided, adapting.prompts
        words: list[str | None] = [row.category_prompt for row in batch.rows]
        read = layout.rows(words, [None] * N)
        scales = adapting.scales(N)
        seen: dict[str, tuple[Tensor, Tensor]] = {}
        with ExitStack() as undo:
            for path, layer in layers.items():
                hook = _Keep(seen, path, N, generator)
                undo.callback(layer.register_forward_hook(hook, with_kwargs=True).remove)
            eps = backbone.denoise(
                layout.repeat(batch.x), layout.repeat(batch.t_N), prompts.stack(read),
                layout.repeat(scales),
            )  # fmt: skip
        self._leading = layout.combine(eps, scales, backbone.guided)
        self._inputs = {path: torch.cat([h, h[batch.kept]]) for path, (h, _) in seen.items()}
        neutral: list[str | None] = [row.neutral_prompt for row in batch.rows]
        text = prompts.stack(neutral + batch.preserved)["text"].to(backbone.dtype)
        eta_N = adapting.strengths(batch).view(-1, 1, 1)
        self._targets: dict[str, Tensor] = {}
        self._moved: dict[str, Tensor] = {}
        for path, layer in layers.items():
            bare = layer(self._inputs[path], encoder_hidden_states=text).float()
            change = eta_N * (seen[path][1].float() - bare[:N])
            self._moved[path] = change.square().mean().clamp(min=1e-12)
            bare[:N] += change
            self._targets[path] = bare


class _Keep:
    """A hook that keeps some tokens of a layer's input and output, of the first N rows."""

    def __init__(
        self,
        seen: dict[str, tuple[Tensor, Tensor]],
        path: str,
        num_rows: int,
        generator: torch.Generator,
    ) -> None:
        self._seen, self._path, self._num_rows = seen, path, num_rows
        self._generator = generator

    def __call__(
        self, _: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Tensor
    ) -> None:
        given: Tensor = args[0] if args else options["hidden_states"]
        chosen = torch.randperm(given.shape[1], generator=self._generator)[:NUM_TOKENS]
        at = chosen.to(given.device)
        self._seen[self._path] = given[: self._num_rows, at], output[: self._num_rows, at]


def _cross_attention(backbone: Backbone, bank: AdapterBank) -> dict[str, Attention]:
    """Return the attention layers that hold the bank's projections, by their paths."""
    if not backbone.prompt_projections():
        raise ValueError(
            "discovery.match: got 'attention', allowed is 'predictions': the adapted layers of "
            f"{type(backbone.denoiser).__name__} read more than the prompt's embedding"
        )
    return {
        path: layer
        for path, layer in backbone.denoiser.named_modules()
        if isinstance(layer, Attention)
        and any(adapted.startswith(f"{path}.") for adapted in bank.projections)
    }
