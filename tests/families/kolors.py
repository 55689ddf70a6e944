"""Tiny pipelines of Kolors."""

import io
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler, KolorsPipeline
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from sentencepiece import SentencePieceTrainer

from fairgen.portraits.world import vocabulary
from tests.families.codecs import vae
from tests.families.diffusion import NOISE, unet


def kolors() -> DiffusionPipeline:
    """Return a pipeline of Kolors, as it is published: 256 tokens, filled up on the left."""
    tokenizer = chatglm_tokenizer()
    width = 32
    denoiser = unet(
        cross_attention_dim=24,
        encoder_hid_dim=width,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=width + 6 * 4,
    )
    with torch.no_grad():
        denoiser.encoder_hid_proj.weight.mul_(8)  # or it hardly reads the prompt
    return KolorsPipeline(
        vae=vae(scaling_factor=0.13025),
        text_encoder=chatglm(tokenizer.vocab_size, width),
        tokenizer=tokenizer,
        unet=denoiser,
        scheduler=EulerDiscreteScheduler(
            **NOISE | {"beta_end": 0.014}, num_train_timesteps=1100, steps_offset=1,
            timestep_spacing="leading",
        ),
    )  # fmt: skip


def chatglm_tokenizer() -> ChatGLMTokenizer:
    """Return a tokenizer of pieces, learnt from the world's words."""
    return ChatGLMTokenizer(str(Path(_folder().name) / "tokenizer.model"))


def chatglm(num_tokens: int, width: int) -> ChatGLMModel:
    """Return a ChatGLM of two layers, of which the UNet reads what the second one reads."""
    config = ChatGLMConfig(
        num_layers=2, padded_vocab_size=num_tokens, hidden_size=width, ffn_hidden_size=width,
        kv_channels=8, num_attention_heads=2, seq_length=256, add_qkv_bias=True,
        multi_query_attention=True, multi_query_group_num=1, original_rope=True,
    )  # fmt: skip
    model = ChatGLMModel(config)  # its weights are whatever lay in memory
    for name, weight in model.named_parameters():
        if "layernorm" in name:
            torch.nn.init.ones_(weight)
        else:
            torch.nn.init.normal_(weight, std=1.0 if "embedding" in name else 0.2)
    return model


@cache
def _folder() -> TemporaryDirectory[str]:
    """Return where the tokenizer's file lies: it is copied when a pipeline is saved."""
    folder, model = TemporaryDirectory(), io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(vocabulary())]), model_writer=model, vocab_size=90,
        normalization_rule_name="identity", num_threads=1, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    (Path(folder.name) / "tokenizer.model").write_bytes(model.getvalue())
    return folder
