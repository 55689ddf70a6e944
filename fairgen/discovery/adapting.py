"""What an update learns with: the frozen model, the adapters, and the rows of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fairgen.backbones import Backbone, PromptCache
from fairgen.bank import AdapterBank
from fairgen.discovery.config import DiscoveryConfig
from fairgen.discovery.rows import TrainingRow
from fairgen.guidance import GuidedRows


@dataclass(frozen=True)
class Batch:
    """N rows of an update: their states x, N x C x h x w, at time steps N. `guided` are those that
    also see no prompt; the rows `kept` see a preservation prompt each, too.
    """

    rows: Sequence[TrainingRow]
    x: Tensor
    t_N: Tensor
    guided: GuidedRows
    kept: list[int]
    preserved: list[str | None]

    @property
    def adapted_prompts(self) -> list[str | None]:
        """The prompts that the adapted model sees: the rows', then those to be preserved."""
        return [*(row.adapted_prompt for row in self.rows), *self.preserved]


class Losses(NamedTuple):
    """What the composition and preservation miss, of a step of the optimiser or a part of one;
    the last part of a step `ends_step`.
    """

    composition: Tensor
    keep: Tensor
    ends_step: bool


@dataclass(frozen=True)
class Adapting:
    """A frozen backbone, the bank of K adapters that train on it, and the frozen `peers`."""

    backbone: Backbone
    bank: AdapterBank
    peers: AdapterBank
    prompts: PromptCache
    config: DiscoveryConfig
    categories: Sequence[str]

    def gates(self, batch: Batch) -> Tensor:
        """Return which adapter is on, N rows and then the kept ones x K."""
        of_rows = [row.category for row in batch.rows]
        gates_NK = torch.eye(len(self.categories))[of_rows].to(batch.x)
        return torch.cat([gates_NK, gates_NK[batch.kept]])

    def peer_gates(self, batch: Batch) -> Tensor:
        """Return the gates of the peers, N rows x their adapters, zero for preservation prompts."""
        names = self.peers.names
        gates = torch.zeros(len(batch.rows) + len(batch.kept), len(names))
        for index, row in enumerate(batch.rows):
            for name in row.peers:
                gates[index, names.index(name)] = 1.0
        return gates

    def strengths(self, batch: Batch) -> Tensor:
        """Return each row's eta."""
        of = [self.config.eta_of(self.categories[row.category]) for row in batch.rows]
        return torch.tensor(of).to(batch.x)

    def scales(self, num_rows: int) -> Tensor:
        """Return a guidance weight a row, or what models are told that embed it."""
        weight = self.backbone.guidance_weight(self.config.guidance_scale)
        return torch.full((num_rows,), weight, device=self.backbone.device)
