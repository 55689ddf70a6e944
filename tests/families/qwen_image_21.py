"""A tiny pipeline of Qwen-Image 2.1, with its language model and its codec of four channels."""

from typing import Any

from diffusers import (
    AutoencoderKLQwenImage21,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    QwenImage21Pipeline,
    QwenImage21Transformer2DModel,
)
from transformers import CLIPImageProcessorPil, LlavaProcessor, Qwen3VLForConditionalGeneration

from tests.families.krea2 import qwen3_vl

_BEFORE = "system user assistant Comprehend and analyze the provided prompt.\n"
_OF_PICTURES = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}{{ part.text }}{% endfor %}<|im_end|>\n{% endfor %}"
)


def rgba_codec(**options: Any) -> AutoencoderKLQwenImage21:
    """Return a codec of films that halves each side, of pictures with an alpha channel."""
    least: dict[str, Any] = {
        "base_dim": 4,
        "decoder_base_dim": 4,
        "z_dim": 4,
        "dim_mult": [1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False],
        "latents_mean": [-0.2, 0.1, 0.3, 0.0],
        "latents_std": [0.8, 1.2, 0.9, 1.1],
    }
    codec = AutoencoderKLQwenImage21(**least | options)
    codec.decoder.conv_out.weight.data *= 2  # so that there is contrast
    return codec


def qwen_image_21(**options: Any) -> DiffusionPipeline:
    """Return a pipeline of Qwen-Image 2.1.

    Its processor is another class of transformers that reads text in the same way: Qwen3VLProcessor
    cannot be built without torchvision, whose wheels do not load beside a torch for CPUs. Of a
    processor the pipeline uses the call with text, the chat template and the tokenizer, which are
    the same in both; what differs is how pictures are read, which is not done here.
    """
    language = qwen3_vl(_BEFORE * 8, Qwen3VLForConditionalGeneration)
    tokenizer = language.pop("tokenizer")
    tokenizer.add_tokens(_OF_PICTURES, special_tokens=True)
    language["text_encoder"].resize_token_embeddings(len(tokenizer), mean_resizing=False)
    transformer = QwenImage21Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=4,
        context_in_dim=32, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    for name, parameter in transformer.named_parameters():  # so that prompts are seen
        parameter.data *= 2.6 if ".attn.to" in name else 8 if "modulation" in name else 1.3
    return QwenImage21Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(
            base_shift=0.5, max_shift=0.9, max_image_seq_len=8192, shift_terminal=0.02,
            use_dynamic_shifting=True,
        ),
        vae=rgba_codec(),
        processor=LlavaProcessor(
            CLIPImageProcessorPil(), tokenizer, patch_size=14, image_token=_OF_PICTURES[0],
            chat_template=_TEMPLATE,
        ),
        **language,
        **options,
    )  # fmt: skip
