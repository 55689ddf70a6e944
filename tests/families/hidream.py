"""Tiny pipelines of HiDream.

The pipeline paints 128 x 128 latents whatever it is asked: here in patches of 16 x 16.
"""

from typing import Any

from diffusers import (
    DiffusionPipeline,
    FlowMatchLCMScheduler,
    HiDreamImagePipeline,
    HiDreamImageTransformer2DModel,
    UniPCMultistepScheduler,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from fairgen.portraits import build_tokenizer
from fairgen.portraits.world import vocabulary
from tests.families.codecs import vae
from tests.families.encoders import t5

FULL = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}


def hidream(dev: bool = False) -> DiffusionPipeline:
    """Return a pipeline of HiDream Full, or Dev."""
    transformer = HiDreamImageTransformer2DModel(
        patch_size=16, in_channels=4, out_channels=4, num_layers=1, num_single_layers=1,
        attention_head_dim=16, num_attention_heads=2, caption_channels=[32, 16], text_emb_dim=32,
        num_routed_experts=2, num_activated_experts=1, axes_dims_rope=(8, 4, 4),
        max_resolution=(128, 128), llama_layers=[0, 1],
    )  # fmt: skip
    for name, parameter in transformer.named_parameters():
        if "rms_norm" in name:  # so that each token looks at more than one
            parameter.data *= 0.5
    transformer.final_layer.linear.weight.data *= 4  # so that prompts are seen in the pictures
    reader = t5()
    return HiDreamImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchLCMScheduler(shift=6.0) if dev else UniPCMultistepScheduler(**FULL),
        vae=vae(scale=1, shift_factor=0.1, scaling_factor=0.4, use_quant_conv=False,
                use_post_quant_conv=False, mid_block_add_attention=False),
        text_encoder=_long_clip(),
        tokenizer=build_tokenizer(),
        text_encoder_2=_long_clip(),
        tokenizer_2=build_tokenizer(),
        text_encoder_3=reader["text_encoder"],
        tokenizer_3=reader["tokenizer"],
        **_llama(),
    )  # fmt: skip


def _long_clip() -> CLIPTextModelWithProjection:
    config = CLIPTextConfig(
        vocab_size=len(build_tokenizer()), hidden_size=16, intermediate_size=16,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=248, projection_dim=16,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config)


def _llama() -> dict[str, Any]:
    """Return a tokenizer that begins each text with a token of its own, and a Llama."""
    words = ["<begin>", "<end>", "<unk>", *vocabulary()]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<begin> $A", special_tokens=[("<begin>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<begin>", eos_token="<end>", unk_token="<unk>"
    )
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=256,
        initializer_range=0.5, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return {"tokenizer_4": tokenizer, "text_encoder_4": LlamaForCausalLM(config)}
