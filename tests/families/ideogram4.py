"""A tiny pipeline of Ideogram 4, with its two transformers and its language model."""

from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Ideogram4Pipeline,
    Ideogram4Transformer2DModel,
)
from transformers import Qwen3VLConfig, Qwen3VLModel

from tests.families.encoders import qwen_tokenizer
from tests.families.flows import klein

_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{{ part.text }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SCALES = {
    "to_q": 1.5, "to_k": 1.5, "layers.0.adaln": 4, "layers.1.adaln": 4, "llm_cond_proj": 3,
    "final_layer.linear": 2,
}  # fmt: skip
_NUM_READ, _WIDTH = 13, 8  # layers of the language model that are read, of 36


def _transformer() -> Ideogram4Transformer2DModel:
    """Return a transformer that sees what its prompt says."""
    found = Ideogram4Transformer2DModel(
        in_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        intermediate_size=32, adaln_dim=16, llm_features_dim=_NUM_READ * _WIDTH,
        mrope_section=(4, 2, 2),
    )  # fmt: skip
    for name, parameter in found.named_parameters():
        for part, scale in _SCALES.items():
            parameter.data *= scale if part in name else 1
    return found


def ideogram4() -> DiffusionPipeline:
    """Return a pipeline of Ideogram 4."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = _TEMPLATE
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer), "hidden_size": _WIDTH, "intermediate_size": _WIDTH,
            "num_hidden_layers": 36, "num_attention_heads": 1, "num_key_value_heads": 1,
            "head_dim": 16, "max_position_embeddings": 1024, "initializer_range": 0.5,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0,
            },
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2,
            "out_hidden_size": _WIDTH, "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
    )  # fmt: skip
    return Ideogram4Pipeline(
        transformer=_transformer(),
        unconditional_transformer=_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=klein(distilled=True).vae,
        tokenizer=tokenizer,
        text_encoder=Qwen3VLModel(config),
    )
