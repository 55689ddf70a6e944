"""FLUX.2 dev: FLUX.2 with its guidance embedded, whose prompts Mistral 3 reads."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from diffusers import Flux2Pipeline
from diffusers.pipelines.flux2.pipeline_flux2 import format_input
from tensordict import TensorDict
from torch import Tensor

from fairgen.backbones.chat_template import num_shared
from fairgen.backbones.flux2 import Flux2Backbone
from fairgen.backbones.pipeline_call import reader_of

_LAYERS = (10, 20, 30)  # the pipeline's own


class Flux2DevBackbone(Flux2Backbone):
    """Directions sit where they do in FLUX.2 klein, at the prompt's tokens and what ends it.

    A message of the system stands before a prompt, and before that what fills both up: these are
    left alone, though the denoiser reads them without a mask. A causal encoder embeds the token
    before a prompt the same for every prompt, so it is found again among embedded ones.
    """

    pipelines = (Flux2Pipeline,)
    classifier_free = False
    instruction_argument = "system_message"  # an attribute of the pipeline, no argument of its call

    def instruction_in(self, options: Mapping[str, Any]) -> str:
        """Return the message of the system; None is the pipeline's own."""
        return self.pipe.system_message if self._instruction is None else self._instruction

    def instruction_options(self, instruction: str) -> dict[str, Any]:
        """Return none: the pipeline's call takes no message but its own."""
        return {}

    def encode(self, prompts: Sequence[str | None]) -> TensorDict:
        """Return "text": N x L x D of three layers of the language model, filled up."""
        text = self._embedded([prompt or "" for prompt in prompts], self.instruction_in({}))
        return TensorDict({"text": text}, batch_size=[len(prompts)])

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that is tokenized, and where in it a prompt begins."""
        text, one, other = self._messages((prompt, "a", "1"), instruction, tokenize=False)
        return text, num_shared(one, other)

    def num_tokens_before(self, tokenizer: Any, instruction: str) -> int:
        """Return how many tokens the tokenizer puts before a text by itself: the template has
        them.
        """
        return len(tokenizer("")["input_ids"])

    def _prompt_at(self, text: Tensor, arguments: Mapping[str, Any]) -> Tensor:
        """Return where prompts stand among embedded tokens N x L x D: N x L."""
        key = self.instruction_in({}), tuple(arguments.get("text_encoder_out_layers", _LAYERS))
        if key not in self._heads:
            self._heads[key] = self._head(*key)
        apart = (text.float() - self._heads[key].to(text.device)).norm(dim=-1)
        return torch.arange(text.shape[1], device=text.device) > apart.argmin(1)[:, None]

    @cached_property
    def _heads(self) -> dict[tuple[str, tuple[int, ...]], Tensor]:
        """The embedded token before a prompt, by the system's message and the layers."""
        return {}

    def _head(self, instruction: str, layers: Sequence[int]) -> Tensor:
        """Return the embedded token that stands before every prompt, D."""
        read = self._messages(("", "a", "1"), instruction, tokenize=True, return_dict=True)
        none, one, other = read["input_ids"]
        options = {"max_sequence_length": len(none), "hidden_states_layers": layers}
        return self._embedded([""], instruction, **options)[0, num_shared(one, other) - 1].float()

    @torch.no_grad()
    def _embedded(self, prompts: list[str], instruction: str, **options: Any) -> Tensor:
        options = {"device": self.device, "system_message": instruction, **options}
        read_by = (reader_of(self.pipe, name) for name in ("text_encoder", "tokenizer"))
        return self.pipe._get_mistral_3_small_prompt_embeds(*read_by, prompts, **options)

    def _messages(self, prompts: Sequence[str], instruction: str, **options: Any) -> Any:
        """Return prompts in the processor's own template, behind a message of the system."""
        messages = format_input(list(prompts), instruction)
        return reader_of(self.pipe, "tokenizer").apply_chat_template(messages, **options)
