"""A tiny pipeline of Kandinsky 5, with its language model."""

from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    Kandinsky5T2IPipeline,
    Kandinsky5Transformer3DModel,
)
from transformers import CLIPImageProcessorPil, CLIPTextConfig, CLIPTextModel, LlavaProcessor

from fairgen.portraits import build_tokenizer
from tests.families.codecs import vae
from tests.families.qwen_image import BEFORE, qwen_25_vl

# what the pipeline puts before a prompt has to be the 40 tokens that it cuts off
_BEFORE = BEFORE.replace("Describe", "You are a prompt engineer. Describe")
_OF_PICTURES = "<|image_pad|>"


def kandinsky5() -> DiffusionPipeline:
    """Return a pipeline of Kandinsky 5, which paints 64 pixels.

    Its processor of text is another class of transformers that reads text in the same way: see
    `qwen_image_21`.
    """
    language = qwen_25_vl(_BEFORE)
    tokenizer, encoder = language["tokenizer"], language["text_encoder"]
    tokenizer.add_tokens([_OF_PICTURES], special_tokens=True)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    clip = CLIPTextConfig(
        vocab_size=len(build_tokenizer()), hidden_size=16, intermediate_size=32,
        num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=77, bos_token_id=1,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4, out_visual_dim=4, in_text_dim=32, in_text_dim2=16, time_dim=16,
        model_dim=32, ff_dim=32, num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 6, 6),
    )  # fmt: skip
    for name, parameter in transformer.named_parameters():
        if "modulation" in name:  # they are zero until a model is trained
            parameter.data.normal_(std=0.3)
        elif ".cross_attention.to_" in name or "out_layer.weight" in name:
            parameter.data *= 2  # so that prompts are seen in the pictures
    words = build_tokenizer()
    words.model_max_length = 77
    pipe = Kandinsky5T2IPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=encoder,
        tokenizer=LlavaProcessor(
            CLIPImageProcessorPil(), tokenizer, patch_size=14, image_token=_OF_PICTURES
        ),
        text_encoder_2=CLIPTextModel(clip),
        tokenizer_2=words,
    )
    pipe.resolutions = [(64, 64)]  # of the published one they are 1024 x 1024 and larger
    return pipe
