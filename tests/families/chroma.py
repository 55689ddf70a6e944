"""Tiny pipelines of Chroma."""

from diffusers import (
    ChromaPipeline,
    ChromaTransformer2DModel,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
)

from tests.families.codecs import vae
from tests.families.encoders import t5


def chroma() -> DiffusionPipeline:
    """Return a pipeline of Chroma."""
    transformer = ChromaTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
        approximator_num_channels=16, approximator_hidden_dim=16, approximator_layers=1,
    )  # fmt: skip
    return ChromaPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(use_beta_sigmas=True),
        vae=vae(shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                 use_post_quant_conv=False),
        **t5(),
    )  # fmt: skip
