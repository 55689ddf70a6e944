"""Tiny language models that embed prompts: random weights, with the tokenizer of their kind."""

import json
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from fairgen.portraits.world import vocabulary

_ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Return a tokenizer of bytes' pairs, learnt from the world's words, with a chat template."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [" ".join(vocabulary()), "user assistant system Describe the image by detailing"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    learnt.train_from_iterator(words * 3, trainer)
    found = json.loads(learnt.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=found["vocab"], merges=[tuple(pair) for pair in found["merges"]],
        additional_special_tokens=list(_ENDS[1:]), pad_token=_ENDS[0],
    )  # fmt: skip
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def qwen3(width: int = 32, num_layers: int = 2) -> dict[str, Any]:
    """Return a tokenizer and a Qwen 3 without its head."""
    tokenizer = qwen_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=width,
        num_hidden_layers=num_layers, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        max_position_embeddings=1024,
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": Qwen3Model(config)}
