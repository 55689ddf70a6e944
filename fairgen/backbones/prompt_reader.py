"""How much of a prompt the text encoders of a pipeline read."""

import copy
from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from transformers import ProcessorMixin

from fairgen.backbones.backbone import Backbone

_TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3", "tokenizer_4")
_MAX_PROMPTS = 4096


@dataclass(frozen=True)
class _Reading:
    """A copy of a tokenizer, and the most tokens that it or the backbone lets an encoder read."""

    tokenizer: Any
    own: int | None
    most: int | None


class PromptReader:
    """Says where the last text encoder of a pipeline stops reading. Any thread may call it."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._lock = Lock()  # a call that cuts makes those of other threads cut, too
        self._has_limit = backbone.max_tokens is not None
        self._read_tokenizers()

    def _read_tokenizers(self) -> None:
        """Take copies of the tokenizers: others may use the pipeline's own meanwhile."""
        self._readings: list[_Reading] = []
        for tokenizer, encoder in self._found():
            is_clip = not self._has_limit or "CLIP" in type(encoder).__name__
            most = self._backbone.most_clip_tokens if is_clip else None
            own = tokenizer.model_max_length if is_clip and most is None else None
            self._readings.append(_Reading(copy.deepcopy(tokenizer), own, most))
        self._cached_cut_at = lru_cache(_MAX_PROMPTS)(self._cut_at)

    def _found(self) -> list[tuple[Any, Any]]:
        """Return the pipeline's own tokenizers with their encoders."""
        pipe, found = self._backbone.pipe, []
        for name in _TOKENIZERS:
            tokenizer = getattr(pipe, name, None)
            if tokenizer is None and name == _TOKENIZERS[0]:
                tokenizer = getattr(pipe, "processor", None)
            if isinstance(tokenizer, ProcessorMixin):  # which reads pictures as well
                tokenizer = tokenizer.tokenizer
            encoder = getattr(pipe, name.replace("tokenizer", "text_encoder"), None)
            if tokenizer is not None and encoder is not None:
                found.append((tokenizer, encoder))
        return found

    def _renew(self) -> None:
        """Read the tokenizers again where one has other tokens: textual inversions add some."""
        with self._lock:
            known = [len(reading.tokenizer) for reading in self._readings]
            if known != [len(tokenizer) for tokenizer, _ in self._found()]:
                self._read_tokenizers()

    def cut_at(
        self, prompt: str, max_sequence_length: int | None = None, instruction: str | None = None
    ) -> int | None:
        """Return the index of the first character that no encoder reads; None where all is read.
        `max_sequence_length` is the pipeline's own option, the tokens of an encoder that is no
        CLIP; `instruction` is what is put before the prompt, None what the backbone puts there.

        A prompt that an encoder reads whole is read whole, since what one of several reads can be
        seen in the picture.
        """
        self._renew()
        return self._cached_cut_at(prompt, max_sequence_length, instruction)

    def num_tokens(self, prompt: str) -> int:
        """Return how many tokens the first tokenizer makes of a prompt."""
        self._renew()
        if not self._readings:
            return 0
        tokenizer = self._readings[0].tokenizer
        with self._lock:
            text = self._whole(self._backbone.read_as(prompt), tokenizer)
            return len(tokenizer(text)["input_ids"])

    def _whole(self, text: str, tokenizer: Any) -> str:
        """Return a text with all the tokens of its textual inversions, as the pipeline reads it."""
        convert = getattr(self._backbone.pipe, "maybe_convert_prompt", None)
        return text if convert is None else convert(text, tokenizer)

    def _cut_at(
        self, prompt: str, max_sequence_length: int | None, instruction: str | None
    ) -> int | None:
        before = self._backbone.instruction_in({}) if instruction is None else instruction
        text, moved = self._backbone.as_read(prompt, before)
        ends = []
        with self._lock:
            for reading in self._readings:
                limit = reading.own or self._backbone.longest_prompt(max_sequence_length)
                if limit is not None and reading.most is not None:
                    limit = min(limit, reading.most)
                if limit is not None:
                    limit += self._backbone.num_tokens_before(reading.tokenizer, before)
                ends.append(self._end(text, reading.tokenizer, limit) - moved)
        if not ends or max(ends) >= len(prompt.rstrip()):
            return None
        return max(ends)

    def _end(self, prompt: str, tokenizer: Any, limit: int | None) -> int:
        """Return how many characters of a prompt a tokenizer's first `limit` tokens hold."""
        whole = self._whole(prompt, tokenizer)
        if limit is None or len(tokenizer(whole)["input_ids"]) <= limit:
            return len(prompt)
        # where tokens stand is said of another text, or not at all
        if whole != prompt or not tokenizer.is_fast:

            def tokens(text: str) -> list[int]:
                cut = tokenizer(self._whole(text, tokenizer), truncation=True, max_length=limit)
                return cut["input_ids"]

            all_of_them = tokens(prompt)
            ends = range(len(prompt))
            return bisect_left(ends, True, key=lambda end: tokens(prompt[:end]) == all_of_them)
        read = tokenizer(prompt, truncation=True, max_length=limit, return_offsets_mapping=True)
        return max(end for _, end in read["offset_mapping"])
