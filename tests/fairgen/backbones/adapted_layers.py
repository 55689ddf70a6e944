"""Where adapters act, seen on a layer."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def changes_of(denoiser: nn.Module, path: str) -> Iterator[list[Tensor]]:
    """Give where a layer's output is not the bare one's, rows x positions, a pass each."""
    layer, changed = denoiser.get_submodule(path), []

    def compare(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        bare = type(layer).forward(layer, inputs[0])
        changed.append((output - bare).abs().amax(-1) > 0)

    handle = layer.register_forward_hook(compare)
    yield changed
    handle.remove()
