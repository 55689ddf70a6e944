"""Prompts that a language model reads as a message of a chat."""

from typing import Any


def as_message(tokenizer: Any, prompt: str, **options: Any) -> str:
    """Return a prompt as the only message of a user, in the tokenizer's own template."""
    message = {"role": "user", "content": prompt}
    return tokenizer.apply_chat_template(
        [message], tokenize=False, add_generation_prompt=True, **options
    )


def num_head_tokens(tokenizer: Any, **options: Any) -> int:
    """Return how many tokens stand before a prompt, whatever it says."""
    read = [tokenizer(as_message(tokenizer, text, **options))["input_ids"] for text in ("a", "1")]
    return next(at for at, pair in enumerate(zip(*read, strict=False)) if len(set(pair)) > 1)
