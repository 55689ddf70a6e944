"""How much of a prompt the text encoders of a pipeline read."""

import copy
from bisect import bisect_left
from functools import lru_cache
from threading import Lock
from typing import Any

from transformers import ProcessorMixin

from fairgen.backbones.backbone import Backbone

_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4")
_MAX_PROMPTS = 4096


class PromptReader:
    """Says where the last text encoder of a pipeline stops reading. Any thread may call it."""

    def __init__(self, backbone: Backbone) -> None:
        """Take copies of the tokenizers: others may use the pipeline's own meanwhile."""
        pipe, self._backbone = backbone.pipe, backbone
        self._lock = Lock()  # a call that cuts makes those of other threads cut, too
        self._tokenizers: list[tuple[Any, int | None, int | None]] = []
        self._has_limit = backbone.max_tokens is not None
        for name in _TOKENIZERS:
            tokenizer = getattr(pipe, name, None)
            if tokenizer is None and name == _TOKENIZERS[0]:
                tokenizer = getattr(pipe, "processor", None)
            if isinstance(tokenizer, ProcessorMixin):  # which reads pictures as well
                tokenizer = tokenizer.tokenizer
            encoder = getattr(pipe, name.replace("tokenizer", "text_encoder"), None)
            if tokenizer is None or encoder is None:
                continue
            is_clip = not self._has_limit or "CLIP" in type(encoder).__name__
            most = backbone.most_clip_tokens if is_clip else None
            own = tokenizer.model_max_length if is_clip and most is None else None
            self._tokenizers.append((copy.deepcopy(tokenizer), own, most))
        self.cut_at = lru_cache(_MAX_PROMPTS)(self._cut_at)

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens the first tokenizer makes of a prompt."""
        if not self._tokenizers:
            return 0
        with self._lock:
            return len(self._tokenizers[0][0](self._backbone.read_as(prompt))["input_ids"])

    def _cut_at(
        self, prompt: str, max_sequence_length: int | None = None, instruction: str | None = None
    ) -> int | None:
        """Return the index of the first character that no encoder reads; None where all is read.
        `max_sequence_length` is the pipeline's own option, the tokens of an encoder that is no
        CLIP; `instruction` is what is put before the prompt, None what the backbone puts there.

        A prompt that an encoder reads whole is read whole, since what one of several reads can be
        seen in the picture.
        """
        before = self._backbone.instruction_in({}) if instruction is None else instruction
        text, moved = self._backbone.as_read(prompt, before)
        ends = []
        with self._lock:
            for tokenizer, own, most in self._tokenizers:
                limit = own or self._backbone.longest_prompt(max_sequence_length)
                limit = limit if limit is None or most is None else min(limit, most)
                if limit is not None:
                    limit += self._backbone.num_tokens_before(tokenizer, before)
                ends.append(_end(text, tokenizer, limit) - moved)
        if not ends or max(ends) >= len(prompt.rstrip()):
            return None
        return max(ends)


def _end(prompt: str, tokenizer: Any, limit: int | None) -> int:
    """Return how many characters of a prompt a tokenizer's first `limit` tokens hold."""
    if limit is None or len(tokenizer(prompt)["input_ids"]) <= limit:
        return len(prompt)
    if not tokenizer.is_fast:  # it does not say where its tokens stand

        def tokens(text: str) -> list[int]:
            return tokenizer(text, truncation=True, max_length=limit)["input_ids"]

        all_of_them = tokens(prompt)
        ends = range(len(prompt))
        return bisect_left(ends, True, key=lambda end: tokens(prompt[:end]) == all_of_them)
    read = tokenizer(prompt, truncation=True, max_length=limit, return_offsets_mapping=True)
    return max(end for _, end in read["offset_mapping"])
