"""Composed predictions: the adapted model's prediction learns to be what the frozen one's are.

Legend: k category, g neutral prompt, d_k the same prompt naming the category, p preservation
prompt, eta strength.

    target_k(x_t) = eps(x_t, g) + eta * (eps(x_t, d_k) - eps(x_t, g))
    L_k = || eps_k(x_t, g) - target_k(x_t) ||^2 + lambda_keep || eps_k(x_t, p) - eps(x_t, p) ||^2

eps stands for whatever the denoiser predicts (noise or velocity; the composition is linear in
both). Source: arXiv 2412.18810, method section.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank
from fairgen.discovery.adapting import Adapting, Batch, Losses
from fairgen.gradients import share_of_mean, sound_gradients
from fairgen.guidance import guided


class AdaptedPrediction(nn.Module):
    """The part that takes gradients, the adapted prediction: what data parallelism wraps."""

    def __init__(self, backbone: Backbone, bank: AdapterBank) -> None:
        super().__init__()
        self.bank = bank
        self._denoise = backbone.denoise

    def forward(self, x: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor) -> Tensor:
        """Return the prediction for every row, N x C x h x w, under the gates that are set."""
        return self._denoise(x, t_N, context, guidance_N)


class ComposedPredictions:
    """One update's targets and losses, of a batch that stays as it is."""

    def __init__(
        self,
        adapting: Adapting,
        adapted: Any,
        batch: Batch,
        no_sync: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """`adapted` is an `AdaptedPrediction`, as it may be wrapped; inside `no_sync` its gradients
        stay with the process. Runs the frozen model once.
        """
        self._adapting, self._adapted, self._batch = adapting, adapted, batch
        self._no_sync = no_sync
        self._look()
        self.relative_error = torch.zeros(())
        self.gradient_rows = len(batch.rows)
        self.denoiser_rows = self._num_frozen + len(batch.rows) + len(batch.kept)

    def losses(self) -> Iterator[Losses]:
        """Yield the losses of one step of the optimiser, a part for each of the rows that cannot
        share a pass; the gates stay set until the next is asked for: checkpoints are recomputed on
        the gradient's way.
        """
        batch, adapting, backbone = self._batch, self._adapting, self._adapting.backbone
        N, rows = len(batch.rows), [*range(len(batch.rows)), *batch.kept]
        contexts = adapting.prompts.stack(batch.adapted_prompts)
        x, t_M, scales_M = batch.x[rows], batch.t_N[rows], adapting.scales(len(rows))
        gates, peer_gates = adapting.gates(batch), adapting.peer_gates(batch)
        wanted, adapted = torch.cat([self._target, self._eps_keep]), torch.empty_like(x)
        for at in (parts := backbone.parts(contexts)):
            positions = backbone.text_positions(contexts[at], x.shape)
            is_last = at is parts[-1]
            with (
                sound_gradients(backbone.denoiser, x.shape[-2] * x.shape[-1]),
                nullcontext() if is_last else self._no_sync(),
                adapting.bank.gated(gates[at], positions),
                adapting.peers.gated(peer_gates[at], positions),
            ):
                eps = self._adapted(x[at], t_M[at], contexts[at], scales_M[at])
                adapted[at] = eps.detach()
                yield Losses(
                    share_of_mean(eps, at, wanted, range(N)),
                    share_of_mean(eps, at, wanted, range(N, len(x))),
                    ends_step=is_last,
                )
        self._eps_k = adapted[:N]
        missed = (self._eps_k - self._target).square().sum()
        moved = (self._target - self._eps_g).square().sum().clamp(min=1e-12)
        self.relative_error = (missed / moved).sqrt()

    def leading(self) -> Tensor:
        """Return the predictions that lead from state to state, after the losses: the adapted
        model's, or off its policy the frozen one's, guided where the rows are.
        """
        leading = self._eps_k if self._adapting.config.on_policy else self._eps_g
        return self._batch.guided.combine(
            torch.cat([leading, self._eps_empty]),
            self._adapting.scales(len(self._batch.rows)),
            self._adapting.backbone.guided,
        )

    @torch.no_grad()
    def _look(self) -> None:
        """Keep the frozen model's predictions, all of one pass.

        No prompt is predicted for the rows that are guided anyway, so that there to preserve it
        costs no row of its own.
        """
        batch, adapting = self._batch, self._adapting
        N, kept, layout = len(batch.rows), batch.kept, batch.guided
        own = [
            i
            for i, (row, prompt) in enumerate(zip(kept, batch.preserved, strict=True))
            if prompt is not None or row not in layout.indices
        ]
        parts: list[tuple[Sequence[int], Sequence[str | None]]] = [
            (range(N), [row.neutral_prompt for row in batch.rows]),
            (range(N), [row.category_prompt for row in batch.rows]),
            (layout.indices, [None] * len(layout.indices)),
            ([kept[i] for i in own], [batch.preserved[i] for i in own]),
        ]
        rows = [row for part, _ in parts for row in part]
        prompts = [prompt for _, part in parts for prompt in part]
        eps = adapting.backbone.denoise(
            batch.x[rows], batch.t_N[rows], adapting.prompts.stack(prompts),
            adapting.scales(len(rows)),
        )  # fmt: skip
        eps_g, eps_d, eps_empty, eps_own = eps.split([len(part) for part, _ in parts])
        eps_keep = eps_g.new_empty(len(kept), *eps_g.shape[1:])
        for i, row in enumerate(kept):
            if i not in own:
                eps_keep[i] = eps_empty[layout.indices.index(row)]
        eps_keep[own] = eps_own
        eta_N = adapting.strengths(batch).to(eps_g).view(-1, *(1,) * (eps_g.ndim - 1))
        self._eps_g, self._eps_empty, self._eps_keep = eps_g, eps_empty, eps_keep
        self._target, self._num_frozen = guided(eps_g, eps_d, eta_N), len(rows)
