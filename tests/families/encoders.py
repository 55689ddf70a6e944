"""Tiny encoders of prompts: random weights, with the tokenizer of their kind."""

import inspect
import json
from typing import Any

from diffusers import (
    SanaPipeline,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from fairgen.portraits import build_tokenizer
from fairgen.portraits.world import vocabulary

_ENDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def clip(projected: bool = False, width: int = 16) -> Any:
    """Return a text encoder of CLIP."""
    config = CLIPTextConfig(
        vocab_size=len(build_tokenizer()),
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=16,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def t5(multilingual: bool = False) -> dict[str, Any]:
    """Return a tokenizer of words and a T5."""
    words = ["<pad>", "</s>", "<unk>", "\u2581", *(f"\u2581{word}" for word in vocabulary())]
    tokenizer = T5Tokenizer(vocab=[(word, -float(i)) for i, word in enumerate(words)], extra_ids=0)
    size = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    encoder = (
        UMT5EncoderModel(UMT5Config(vocab_size=len(words), **size))
        if multilingual
        else T5EncoderModel(T5Config(vocab_size=len(words), **size))
    )
    return {"tokenizer": tokenizer, "text_encoder": encoder}


def gemma(num_layers: int = 1, before: str = "") -> dict[str, Any]:
    """Return a tokenizer of bytes' pairs, learnt from the world's words and from what stands before
    a prompt, and a language model.
    """
    call = inspect.signature(SanaPipeline.__call__).parameters
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    learnt.train_from_iterator(
        [" ".join(vocabulary()) * 3, *call["complex_human_instruction"].default, before * 3],
        trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False),
    )
    found = json.loads(learnt.to_str())["model"]
    pairs = [tuple(pair) for pair in found["merges"]]
    tokenizer = GemmaTokenizer(vocab=found["vocab"], merges=pairs, add_bos_token=True)
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=num_layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        initializer_range=0.5,  # or no word is told from another
    )
    return {"tokenizer": tokenizer, "text_encoder": Gemma2Model(config)}


def qwen_tokenizer(
    before: str = "user assistant system Describe the image by detailing",
) -> Qwen2Tokenizer:
    """Return a tokenizer of bytes' pairs, learnt from the world's words and from what stands before
    a prompt, with a chat template.
    """
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = [" ".join(vocabulary()), before]
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
