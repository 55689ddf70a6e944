"""What a denoiser reads of prompts, and which of them share a pass."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence

import torch
from tensordict import TensorDict


class PromptContexts(ABC):
    """A prompt as a denoiser reads it: tensors by name, the row first where there are several."""

    @abstractmethod
    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return what the denoiser reads of N prompts, tensors whose first dimension is N; None is
        what the family takes for no prompt.
        """

    def encode_negative(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return what it reads of N negative prompts."""
        return self.encode(prompts)

    def stack(self, contexts: Sequence[TensorDict]) -> TensorDict:
        """Return what the denoiser reads of N prompts that were encoded apart, each without N."""
        return torch.stack(list(contexts))

    def apart(self, context: TensorDict) -> Hashable:
        """Return what of an embedded prompt, without N, parts rows: in a pass of the denoiser it is
        the same for all. None parts nothing.
        """
        return None

    def parts(self, contexts: Sequence[TensorDict] | TensorDict) -> list[list[int]]:
        """Return which of N embedded prompts share a pass, as indices."""
        found: dict[Hashable, list[int]] = {}
        for index in range(len(contexts)):
            found.setdefault(self.apart(contexts[index]), []).append(index)
        return list(found.values())

    @property
    def reads_once(self) -> bool:
        """Whether the layers that adapters act on read text the same at every step and beside any
        picture, so that `read_once` may do it before the first step.
        """
        return False

    def read_once(self, context: TensorDict) -> TensorDict:
        """Return what passes read in place of N prompts that share one: what the layers have made
        of them, as they are when this is called. It is a pass over the smallest latents, C x p x p
        for a patch of p.
        """
        return context
