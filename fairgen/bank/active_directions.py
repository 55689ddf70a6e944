"""Which directions the rows of a batch have switched on."""

from collections.abc import Collection

import torch
from torch import Tensor


class ActiveDirections:
    """Each row's switched-on directions, gathered per projection and kept for the next step.

    r is the most directions that one row has on; a row with fewer is filled up with zeros.
    """

    def __init__(self, gates_NR: Tensor, keys: Collection[str]) -> None:
        self.num_rows, self.keys = gates_NR.shape[0], keys
        active_NR = gates_NR != 0
        on = active_NR.any(dim=1).nonzero().flatten().tolist()
        self.rows = slice(on[0], on[-1] + 1) if on else slice(0, 0)
        self.num_active = int(active_NR.sum(1).max()) if on else 0
        order = active_NR[self.rows].int().argsort(dim=1, descending=True, stable=True)
        self._places_Nr = order[:, : self.num_active]
        self._gates_Nr = gates_NR[self.rows].gather(1, self._places_Nr)
        self._gathered: dict[str, tuple[Tensor, Tensor]] = {}

    def rows_of(self, start: int, stop: int) -> slice:
        """Return which rows from `start` to `stop` have adapters on, with those between them."""
        first = min(max(start, self.rows.start), stop)
        return slice(first, max(first, min(stop, self.rows.stop)))

    def gather(self, key: str, A: Tensor, B: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return A, N x in x r, and B with the gates folded in, N x r x out."""
        if key in self._gathered:
            return self._gathered[key]
        places, gates = self._places_Nr.to(A.device), self._gates_Nr.to(B)[..., None]
        found = A[places].mT.to(dtype).contiguous(), (B.mT[places] * gates).to(dtype)
        if not A.requires_grad:  # what trains is gathered anew: the next pass may want a gradient
            self._gathered[key] = found
        return found
