"""Tiny codecs, of latents 8 x 8."""

from typing import Any

from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
)

SIZE_PX = 16


def vae(latent_channels: int = 4, scale: int = 2, **options: Any) -> AutoencoderKL:
    """Return a codec that takes a part of each side, by default half of it."""
    num_halvings = scale.bit_length() - 1
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * (num_halvings + 1),
        up_block_types=("UpDecoderBlock2D",) * (num_halvings + 1),
        block_out_channels=(4,) * num_halvings + (8,),
        latent_channels=latent_channels,
        norm_num_groups=2,
        sample_size=SIZE_PX,
        **options,
    )


def dc(**options: Any) -> AutoencoderDC:
    """Return a codec of deep compression that takes a quarter of each side."""
    least: dict[str, Any] = {
        "latent_channels": 4,
        "attention_head_dim": 4,
        "encoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
        "decoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
        "encoder_block_out_channels": (4, 8, 8),
        "decoder_block_out_channels": (4, 8, 8),
        "encoder_layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1),
        "encoder_qkv_multiscales": ((), (), (5,)),
        "decoder_qkv_multiscales": ((), (), (5,)),
        "scaling_factor": 0.41407,
    }
    return AutoencoderDC(**least | options)
