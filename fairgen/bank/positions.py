"""Where in its sequence a layer reads the prompt: adapters act there and nowhere else.

Where text and picture share a sequence, the text's keys and values are a range of positions, not a
layer. With a mask m of the positions that are text, the bank's line becomes, for row n and position
i, y = W x + ((x A^T) * g_n * m_ni) B^T.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class TextPositions:
    """The positions that are text in N sequences of S: `mask_NS` is True there.

    Only the shortest range that holds all of them is multiplied.
    """

    mask_NS: Tensor

    @cached_property
    def span(self) -> slice:
        """The range that holds the text of every row."""
        at = self.mask_NS.any(dim=0).nonzero().flatten().tolist()
        return slice(at[0], at[-1] + 1) if at else slice(0, 0)

    @cached_property
    def is_whole(self) -> bool:
        """Whether all of the range is text in every row."""
        return bool(self.mask_NS[:, self.span].all())

    def check(self, layer: str, num_rows: int, num_positions: int) -> None:
        """Raise ValueError where a layer reads other sequences than these."""
        if self.mask_NS.shape != (num_rows, num_positions):
            raise ValueError(
                f"positions: got {tuple(self.mask_NS.shape)} for {layer}, which reads {num_rows} "
                f"rows of {num_positions}"
            )

    def rows(self, start: int, stop: int) -> Tensor | None:
        """Return the mask of some rows in the range, None where all of it is text."""
        return None if self.is_whole else self.mask_NS[start:stop, self.span]


# the name of an adapted layer -> where it reads the prompt; a layer that is not named reads it at
# all of its positions
Positions = Mapping[str, TextPositions]
