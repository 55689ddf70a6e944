"""A tiny pipeline of Qwen-Image, with its language model and its codec of films."""

from typing import Any

from diffusers import (
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tests.families.encoders import qwen_tokenizer

# what the pipeline puts before a prompt has to be the 34 tokens that it cuts off
BEFORE = """system
Describe the image by detailing the color, shape, size, texture, quantity, text, spatial \
relationships of the objects and background:
user
assistant
"""


def qwen_25_vl(before: str = BEFORE) -> dict[str, Any]:
    """Return a Qwen 2.5 VL, and a tokenizer that knows what stands before a prompt."""
    tokenizer = qwen_tokenizer(before * 8)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
            "max_position_embeddings": 1024, "initializer_range": 1.0, "bos_token_id": None,
            "eos_token_id": None,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
            "out_hidden_size": 32, "fullatt_block_indexes": [0],
        },
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": Qwen2_5_VLForConditionalGeneration(config)}


def film_codec(**options: Any) -> AutoencoderKLQwenImage:
    """Return a codec of films that halves each side."""
    least: dict[str, Any] = {
        "base_dim": 4,
        "z_dim": 4,
        "dim_mult": [1, 2],
        "num_res_blocks": 1,
        "temperal_downsample": [False],
        "latents_mean": [-0.2, 0.1, 0.3, 0.0],
        "latents_std": [0.8, 1.2, 0.9, 1.1],
    }
    codec = AutoencoderKLQwenImage(**least | options)
    codec.decoder.conv_out.weight.data *= 2  # so that there is contrast
    return codec


def tiny_qwen_image() -> DiffusionPipeline:
    """Return a pipeline of Qwen-Image."""
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    transformer.proj_out.weight.data *= 2  # so that prompts are seen in the pictures
    return QwenImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02,
            use_dynamic_shifting=True,
        ),
        vae=film_codec(),
        **qwen_25_vl(),
    )  # fmt: skip
