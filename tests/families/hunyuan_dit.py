"""Tiny pipelines of HunyuanDiT."""

from diffusers import (
    DDPMScheduler,
    DiffusionPipeline,
    HunyuanDiT2DModel,
    HunyuanDiTPipeline,
)
from transformers import BertConfig, BertModel, BertTokenizer

from fairgen.portraits.world import vocabulary
from tests.families.codecs import vae
from tests.families.diffusion import NOISE
from tests.families.encoders import t5


def hunyuan_dit() -> DiffusionPipeline:
    """Return a pipeline of HunyuanDiT, which paints eight pixels for a latent's side."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *vocabulary()]
    bert = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=77,
    )  # fmt: skip
    reader = t5()
    reader["tokenizer"].model_max_length = 256
    transformer = HunyuanDiT2DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, patch_size=2, sample_size=8,
        hidden_size=32, num_layers=4, mlp_ratio=1.0, cross_attention_dim=16,
        cross_attention_dim_t5=32, pooled_projection_dim=16,
    )  # fmt: skip
    return HunyuanDiTPipeline(
        transformer=transformer,
        scheduler=DDPMScheduler(
            **NOISE | {"beta_end": 0.018}, clip_sample=False, prediction_type="v_prediction",
            steps_offset=1,
        ),
        vae=vae(scale=8, scaling_factor=0.13025),
        text_encoder=BertModel(bert),
        tokenizer=BertTokenizer(
            vocab={word: index for index, word in enumerate(words)}, model_max_length=77
        ),
        text_encoder_2=reader["text_encoder"],
        tokenizer_2=reader["tokenizer"],
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
