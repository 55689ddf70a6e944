"""What families share whose prompts a language model reads as a message of a chat."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from diffusers import DiffusionPipeline

from fairgen.backbones.pipeline_call import reader_of


class ChatTemplate:
    """Prompts stand in the tokenizer's own template, with `chat_options`; `message_has_parts` says
    that a message is a list of parts, of which the prompt is one.

    The template's head comes before a prompt, so a causal encoder embeds it the same for every
    prompt: adapters leave it alone. What follows on a prompt has read it.
    """

    pipe: DiffusionPipeline
    chat_options: ClassVar[Mapping[str, Any]] = {}
    message_has_parts: ClassVar[bool] = False

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that is tokenized, and where in it a prompt begins."""
        return self._message(prompt), num_shared(self._message("a"), self._message("1"))

    @cached_property
    def num_head_tokens(self) -> int:
        """How many tokens stand before a prompt."""
        tokenize = reader_of(self.pipe, "tokenizer")
        return num_shared(*(tokenize(self._message(text))["input_ids"] for text in ("a", "1")))

    def _message(self, prompt: str) -> str:
        """Return a prompt as the only message of a user."""
        parts = [{"type": "text", "text": prompt}]
        return reader_of(self.pipe, "tokenizer").apply_chat_template(
            [{"role": "user", "content": parts if self.message_has_parts else prompt}],
            tokenize=False,
            add_generation_prompt=True,
            **self.chat_options,
        )


def num_shared(one: Any, other: Any) -> int:
    """Return how many items two sequences begin with that are the same in both."""
    return next(at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
