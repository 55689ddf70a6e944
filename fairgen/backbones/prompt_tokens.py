"""What families share that read as many tokens of a prompt as it has."""

from collections.abc import Mapping, Sequence
from typing import Any

from tensordict import TensorDict
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
                for name in ("text", "mask")
            },
            batch_size=[len(contexts)],
        )
