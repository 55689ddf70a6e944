"""What families share that read as many tokens of a prompt as it has."""

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fairgen.backbones.pipeline_call import PipelineCall


class PromptTokens(PipelineCall):
    """A context is "text", N x L x ..., and "mask", N x L, which is False at what fills a text up
    to the longest one: nothing attends there. The pipelines repeat embedded prompts themselves.
    """

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with which the pipeline paints several pictures of one prompt."""
        return PipelineCall.call_options(self, num_images, options)

    def stack(self, contexts: Sequence[TensorDict]) -> TensorDict:
        """Return what the denoiser reads of N prompts that were encoded apart, each without N."""
        return TensorDict(
            {
                name: pad_sequence([context[name] for context in contexts], batch_first=True)
                for name in contexts[0].keys()  # noqa: SIM118
            },
            batch_size=[len(contexts)],
        )


class EqualLengths(PromptTokens):
    """Besides, a denoiser in which what fills a prompt up would be seen in the picture: rows of a
    pass read prompts of one length.
    """

    def apart(self, context: TensorDict) -> Hashable:
        """Return how many tokens a prompt has."""
        return int(context["mask"].sum())

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the model's prediction, as `Backbone.denoise` does: a call of the denoiser for
        neighbours that have one length, in the order of the rows.
        """
        found, start = [], 0
        for length, neighbours in groupby(context["mask"].sum(1).tolist()):
            rows = slice(start, start + len(list(neighbours)))
            own = TensorDict(
                {name: value[rows, :length] for name, value in context.items()},
                batch_size=[rows.stop - rows.start],
            )
            found.append(self.denoise_equal(x_t[rows], t_N[rows], own))
            start = rows.stop
        return torch.cat(found)

    @abstractmethod
    def denoise_equal(self, x_t: Tensor, t_N: Tensor, context: TensorDict) -> Tensor:
        """Return the prediction for rows whose prompts have one length, none of it filled up."""


class GuidedApart(PromptTokens):
    """Besides, guidance leads away from what another model predicts, which reads no text: a context
    without tokens. There are no negative prompts. `unconditional_name` is the other model's
    component name in the pipeline.
    """

    guides_apart: ClassVar[bool] = True
    unconditional_name: ClassVar[str]
    denoiser: Any

    def encode_negative(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return N contexts without tokens."""
        return self.encode([None for _ in prompts])

    def apart(self, context: TensorDict) -> Hashable:
        """Return whether there is text: which of the models predicts."""
        return bool(context["mask"].any())

    def denoise(
        self, x_t: Tensor, t_N: Tensor, context: TensorDict, guidance_N: Tensor | None = None
    ) -> Tensor:
        """Return the models' predictions, as `Backbone.denoise` does: a call of each that has rows,
        which are in their order.
        """
        found, has_text = torch.empty_like(x_t), context["mask"].any(1)
        other = getattr(self.pipe, self.unconditional_name)
        for model, at in ((self.denoiser, has_text), (other, ~has_text)):
            if bool(at.any()):
                found[at] = self.denoise_by(model, x_t[at], t_N[at], context[at])
        return found

    @abstractmethod
    def denoise_by(self, model: Any, x_t: Tensor, t_N: Tensor, context: TensorDict) -> Tensor:
        """Return one model's prediction for rows that all have text, or that have none."""
