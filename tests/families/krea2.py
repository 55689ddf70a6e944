"""Tiny pipelines of Krea 2, with their language model."""

from typing import Any

from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Krea2Pipeline,
    Krea2Transformer2DModel,
)
from transformers import Qwen3VLConfig, Qwen3VLModel

from tests.families.encoders import qwen_tokenizer
from tests.families.qwen_image import BEFORE, film_codec


def qwen3_vl(before: str, kind: type) -> dict[str, Any]:
    """Return a Qwen 3 VL of a class, and a tokenizer that knows what stands before a prompt."""
    tokenizer = qwen_tokenizer(before)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "head_dim": 16, "max_position_embeddings": 1024, "initializer_range": 1.0,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0,
            },
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
            "out_hidden_size": 32, "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": kind(config)}


def tiny_krea2(distilled: bool) -> DiffusionPipeline:
    """Return a pipeline of Krea 2, Turbo or Raw."""
    transformer = Krea2Transformer2DModel(
        in_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=32, timestep_embed_dim=16, text_hidden_dim=32,
        num_text_layers=2, text_num_attention_heads=2, text_num_key_value_heads=1,
        text_intermediate_size=32, num_layerwise_text_blocks=1, num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    for parameter in transformer.parameters():  # so that prompts are seen in the pictures
        parameter.data *= 1.3
    transformer.final_layer.linear.weight.data *= 2
    return Krea2Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.5, max_shift=1.15, max_image_seq_len=6400, use_dynamic_shifting=True
        ),
        vae=film_codec(),
        text_encoder_select_layers=(1, 2),
        is_distilled=distilled,
        **qwen3_vl(BEFORE * 8, Qwen3VLModel),
    )
