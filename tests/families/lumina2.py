"""Tiny pipelines of Lumina 2."""

from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
)

from tests.families.codecs import vae
from tests.families.encoders import gemma

BEFORE = (
    "You are an assistant designed to generate superior images with the superior degree of "
    "image-text alignment based on textual prompts or user prompts. <Prompt Start> "
)


def lumina2() -> DiffusionPipeline:
    """Return a pipeline of Lumina 2, which paints eight pixels for a latent's side."""
    transformer = Lumina2Transformer2DModel(
        sample_size=8, in_channels=4, hidden_size=32, num_layers=2, num_refiner_layers=1,
        num_attention_heads=4, num_kv_heads=2, multiple_of=16, axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 16, 16), cap_feat_dim=32,
    )  # fmt: skip
    for name, parameter in transformer.named_parameters():
        if "norm_q" in name or "norm_k" in name:  # so that each token looks at more than one
            parameter.data *= 0.5
    return Lumina2Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=vae(scale=8, shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                 use_post_quant_conv=False),
        **gemma(num_layers=2, before=BEFORE),
    )  # fmt: skip
