"""The text's keys and values, where they depend on the prompt and the gates, not on the step.

So they are computed once for a picture, and once a prompt for unconditional rows. While it is being
denoised, the layers of cross-attention that would compute them answer with what is known; of one
sequence a pass reads them in place of the text.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count

import torch
from diffusers.hooks import HookRegistry, ModelHook
from diffusers.models.modeling_utils import get_parameter_dtype
from tensordict import TensorDict
from torch import Tensor, nn

from fairgen.backbones import Backbone
from fairgen.bank import AdapterBank

KeyValues = dict[str, Tensor]
_NUMBERS = count()
_MOST_BARE = 8  # of Stable Diffusion XL each takes 51 MB in half precision


class _Answer(ModelHook):
    """Answers with a stored output in place of the layer's, while there is one."""

    stored: Tensor | None = None

    def new_forward(self, module: nn.Module, *args: object, **kwargs: object) -> Tensor:
        if self.stored is not None:
            return self.stored
        return self.fn_ref.original_forward(*args, **kwargs)


class KeyValueCache:
    """Computes the outputs of the layers that read the prompt only, and lets them repeat these.

    The layers keep every other hook that is on them; `close` takes the cache's own off.
    """

    def __init__(self, denoiser: nn.Module, bank: AdapterBank, paths: Sequence[str]) -> None:
        """`paths` name layers whose input is the prompt's embedding as the denoiser is given it."""
        self.paths = tuple(paths)
        self._denoiser = denoiser
        self._layers = {path: denoiser.get_submodule(path) for path in paths}
        self._answers = {path: _Answer() for path in paths}
        self._bank = bank
        self._bare: OrderedDict[str | None, KeyValues] = OrderedDict()
        self._name = f"fairgen_key_values_{next(_NUMBERS)}"  # other engines may share the denoiser
        for path, layer in self._layers.items():
            registry = HookRegistry.check_if_exists_or_initialize(layer)
            registry.register_hook(self._answers[path], self._name)

    @torch.inference_mode()
    def compute(self, context: TensorDict, gates_NK: Tensor) -> list[KeyValues]:
        """Return each row's outputs, layer -> L x out, for N embedded prompts."""
        if not self.paths:
            return [{} for _ in range(len(context))]
        text = context["text"].to(get_parameter_dtype(self._denoiser))
        with self._bank.gated(self._bank.active_directions(gates_NK, self.paths)):
            outputs = {path: layer(text) for path, layer in self._layers.items()}
        return [{path: out[row] for path, out in outputs.items()} for row in range(len(context))]

    def bare(self, prompt: str | None, context: TensorDict) -> KeyValues:
        """Return the outputs for one embedded prompt with every adapter off. Those of the last few
        prompts are kept: unconditional rows mostly share one.
        """
        if prompt not in self._bare:
            none_on = torch.zeros(1, len(self._bank.names))
            (self._bare[prompt],) = self.compute(context.unsqueeze(0), none_on)
            if len(self._bare) > _MOST_BARE:
                self._bare.popitem(last=False)
        self._bare.move_to_end(prompt)
        return self._bare[prompt]

    def stack(self, rows: Sequence[KeyValues]) -> KeyValues:
        """Return the outputs for a batch of rows, layer -> N x L x out."""
        return {path: torch.stack([row[path] for row in rows]) for path in self.paths}

    @contextmanager
    def answering(self, stacked: Mapping[str, Tensor]) -> Iterator[None]:
        """Let the layers repeat these outputs inside the `with`, whatever they are given."""
        for path, answer in self._answers.items():
            answer.stored = stacked[path]
        try:
            yield
        finally:
            for answer in self._answers.values():
                answer.stored = None

    def close(self) -> None:
        """Take the cache off the layers."""
        for layer in self._layers.values():
            HookRegistry.check_if_exists_or_initialize(layer).remove_hook(self._name, recurse=False)


@torch.inference_mode()
def read_once(
    backbone: Backbone, bank: AdapterBank, contexts: Sequence[TensorDict], gates_NK: Tensor
) -> list[TensorDict]:
    """Return what all passes read in place of N embedded prompts, each under its gates."""
    found = list(contexts)
    shape = backbone.num_latent_channels, backbone.patch_size, backbone.patch_size
    for at in backbone.parts(contexts):
        stacked = backbone.stack([contexts[index] for index in at])
        directions = bank.active_directions(gates_NK[at])
        with bank.gated(directions, backbone.text_positions(stacked, shape)):
            read = backbone.read_once(stacked)
        for row, index in enumerate(at):
            found[index] = read[row]
    return found
