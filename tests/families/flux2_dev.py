"""Tiny pipelines of FLUX.2 dev, with its language model."""

from typing import Any

from diffusers import DiffusionPipeline, Flux2Pipeline, Flux2Transformer2DModel
from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    LlavaProcessor,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
)
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

from tests.families.flows import klein

_SIGNS = ("<s>", "</s>", "<pad>", "[IMG]", "[INST]", "[/INST]", "[SYSTEM_PROMPT]",
          "[/SYSTEM_PROMPT]")  # fmt: skip
_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% set text = message.content[0].text %}"
    "{% if message.role == 'system' %}[SYSTEM_PROMPT]{{ text }}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{{ text }}[/INST]{% endif %}{% endfor %}"
)


def flux2_dev() -> DiffusionPipeline:
    """Return a pipeline of FLUX.2 dev."""
    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=48, timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4), guidance_embeds=True,
    )  # fmt: skip
    for name, parameter in transformer.named_parameters():
        if "norm" in name:  # so that each token looks at many
            parameter.data *= 0.6
        elif "attn.add" in name or "attn.to_qkv" in name or ".attn.to_" in name:
            # prompts are few of 528 tokens: so that what is learnt of them counts
            parameter.data *= 18 if "out" in name else 0.125
        else:
            parameter.data *= 1.5
    parts = klein(distilled=True)
    parts.vae.decoder.conv_out.weight.data *= 2  # so that there is contrast
    return Flux2Pipeline(
        transformer=transformer, scheduler=parts.scheduler, vae=parts.vae, **_mistral3()
    )


def _mistral3() -> dict[str, Any]:
    """Return a Mistral 3, of whose layers the 30th is the last that is read, and its processor:
    that of LLaVA, which prepares texts as Pixtral's does, and wants no torchvision.
    """
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=[*_SIGNS], show_progress=False
    )
    learnt.train_from_iterator([SYSTEM_MESSAGE.upper()], trainer)  # prompts are of many tokens
    learnt.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=learnt, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        padding_side="left", additional_special_tokens=list(_SIGNS[3:]),
    )  # fmt: skip
    processor = LlavaProcessor(
        PixtralImageProcessorPil(), tokenizer, patch_size=14, chat_template=_TEMPLATE,
        vision_feature_select_strategy="full", image_token="[IMG]",
    )  # fmt: skip
    config = Mistral3Config(
        text_config={
            "model_type": "mistral", "vocab_size": len(tokenizer), "hidden_size": 16,
            "intermediate_size": 16, "num_hidden_layers": 30, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 1024,
            "initializer_range": 0.5,
        },
        vision_config={
            "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 8, "patch_size": 14,
            "image_size": 28,
        },
    )  # fmt: skip
    return {"tokenizer": processor, "text_encoder": Mistral3ForConditionalGeneration(config)}
