"""What flows share whose first blocks keep two streams, and whose last ones keep one."""

from collections.abc import Mapping
from typing import ClassVar

from fairgen.backbones.flow import FlowBackbone
from fairgen.bank import Positions, TextPositions


class TwoThenOneBackbone(FlowBackbone):
    """Directions sit on the text stream of the blocks that keep two, and on the attention of those
    of one stream: `single_blocks` is how their layers' names begin, `single_suffixes` how they end,
    by letter.
    """

    single_blocks: ClassVar[str]
    single_suffixes: ClassVar[Mapping[str, str]]

    def projections(self, which: str) -> list[str]:
        """Return the layers of the text stream, and those of one stream."""
        ends = tuple(self.single_suffixes[letter] for letter in which)
        single = [
            name
            for name, _ in self.denoiser.named_modules()
            if name.startswith(self.single_blocks) and name.endswith(ends)
        ]
        return super().projections(which) + single

    def _where(self, alone: TextPositions, beside: TextPositions) -> Positions:
        """Return where layers read the prompt: in a stream of its own, and beside the picture."""
        return {
            path: beside if path.startswith(self.single_blocks) else alone
            for path in self.projections("qkvo")
        }

    @property
    def patch_size(self) -> int:
        return self.denoiser.config.patch_size
